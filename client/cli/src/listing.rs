//! The files below a prefix, page after page.

use crate::failure::Failure;
use cairn_client::Client;
use cairn_common::limits::LIST_MAX_KEYS;
use cairn_common::name::BucketName;
use cairn_common::wire::master::{ListAfter, ListRequest, Listed, ListedFile};
use futures::{Stream, TryStreamExt as _};

/// All pages of a listing. Memory: one page.
pub(crate) fn pages(
    client: Client,
    bucket: BucketName,
    prefix: String,
    delimiter: Option<String>,
) -> impl Stream<Item = Result<Listed, Failure>> {
    futures::stream::try_unfold(Some(ListAfter::Start), move |after| {
        let (client, bucket, prefix, delimiter) = (client.clone(), bucket.clone(), prefix.clone(), delimiter.clone());
        async move {
            let Some(after) = after else { return Ok(None) };
            let request = ListRequest { bucket, prefix, delimiter, after, limit: LIST_MAX_KEYS };
            let mut listed = client.list(request).await?;
            let next = listed.next.take().map(ListAfter::Token);
            Ok(Some((listed, next)))
        }
    })
}

/// All files whose keys start with `prefix`, in the order of their keys.
pub(crate) fn files(
    client: Client,
    bucket: BucketName,
    prefix: String,
) -> impl Stream<Item = Result<ListedFile, Failure>> {
    pages(client, bucket, prefix, None)
        .map_ok(|page| futures::stream::iter(page.files.into_iter().map(Ok)))
        .try_flatten()
}
