"""What schemathesis has to be told about the native API: bodies of this type are bytes as they are."""

import schemathesis


@schemathesis.serializer("application/offset+octet-stream")
def octets(context, value):
    return value if isinstance(value, bytes) else str(value).encode()
