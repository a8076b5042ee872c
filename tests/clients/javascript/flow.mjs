// The JavaScript SDK at its default settings: ENDPOINT, BUCKET from the environment, credentials as the SDK finds them.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import {
  CopyObjectCommand, DeleteObjectsCommand, GetObjectCommand, HeadObjectCommand, PutObjectCommand, S3Client,
  paginateListObjectsV2,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const { ENDPOINT, BUCKET } = process.env;
const client = new S3Client({ endpoint: ENDPOINT, forcePathStyle: true });
const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

const small = randomBytes(1000);
await client.send(new PutObjectCommand({ Bucket: BUCKET, Key: "d/ü +%", Body: small, Metadata: { who: "me" } }));
const got = await client.send(new GetObjectCommand({ Bucket: BUCKET, Key: "d/ü +%" }));
assert.equal(digest(await got.Body.transformToByteArray()), digest(small));
assert.equal(got.Metadata.who, "me");
assert.ok(got.ChecksumCRC32, "the SDK sends and asks for checksums by itself");

// In parts, of a length that it is not told.
const large = randomBytes(11 << 20);
const stream = new ReadableStream({
  start(controller) {
    for (let at = 0; at < large.length; at += 70001) controller.enqueue(large.subarray(at, at + 70001));
    controller.close();
  },
});
await new Upload({ client, params: { Bucket: BUCKET, Key: "d/large", Body: stream } }).done();
const part = await client.send(new GetObjectCommand({ Bucket: BUCKET, Key: "d/large", Range: "bytes=5242870-5242890" }));
assert.equal(digest(await part.Body.transformToByteArray()), digest(large.subarray(5242870, 5242891)));
const whole = await client.send(new GetObjectCommand({ Bucket: BUCKET, Key: "d/large" }));
assert.equal(digest(await whole.Body.transformToByteArray()), digest(large));

await client.send(new CopyObjectCommand({ Bucket: BUCKET, Key: "copy", CopySource: `${BUCKET}/d/large` }));
assert.equal((await client.send(new HeadObjectCommand({ Bucket: BUCKET, Key: "copy" }))).ContentLength, large.length);
await assert.rejects(
  client.send(new PutObjectCommand({ Bucket: BUCKET, Key: "copy", Body: "x", IfNoneMatch: "*" })),
  { name: "PreconditionFailed" },
);
await assert.rejects(client.send(new GetObjectCommand({ Bucket: BUCKET, Key: "missing" })), { name: "NoSuchKey" });

const url = await getSignedUrl(client, new GetObjectCommand({ Bucket: BUCKET, Key: "d/ü +%" }), { expiresIn: 60 });
assert.equal(digest(Buffer.from(await (await fetch(url)).arrayBuffer())), digest(small));

const names = [];
for await (const page of paginateListObjectsV2({ client, pageSize: 1 }, { Bucket: BUCKET })) {
  names.push(...page.Contents.map((object) => object.Key));
}
assert.deepEqual(names, ["copy", "d/large", "d/ü +%"]);
const Delete = { Objects: names.map((Key) => ({ Key })) };
assert.equal((await client.send(new DeleteObjectsCommand({ Bucket: BUCKET, Delete }))).Deleted.length, 3);
