//! Virtual-host style: `BUCKET.DOMAIN` in the `Host` header.

use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// Finds the bucket in a host below one of the base domains. Every other host (an address, a name in /etc/hosts, a load
/// balancer) is path-style: a gateway is often reached under names it does not know.
#[derive(Debug)]
pub(crate) struct BaseDomains(Vec<String>);

impl BaseDomains {
    pub(crate) fn new(domains: &[String]) -> BaseDomains {
        BaseDomains(domains.iter().map(|domain| domain.to_ascii_lowercase()).collect())
    }

    /// The bucket that `host` names, if it names one.
    pub(crate) fn bucket(&self, host: &str) -> Option<String> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
        let below = |domain: &String| name.strip_suffix(domain)?.strip_suffix('.').map(str::to_owned);
        self.0.iter().find_map(below).filter(|bucket| !bucket.is_empty())
    }
}

impl S3Host for BaseDomains {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let found = VirtualHost::new(host);
        Ok(match self.bucket(host) {
            Some(bucket) => found.with_bucket(bucket),
            None => found,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_what_stands_before_a_base_domain() {
        let domains = BaseDomains::new(&["S3.example.com".to_owned(), "local".to_owned()]);
        let bucket = |host| domains.bucket(host);
        assert_eq!(bucket("photos.s3.example.com"), Some("photos".to_owned()));
        assert_eq!(bucket("photos.s3.example.com:9000"), Some("photos".to_owned()));
        assert_eq!(bucket("My.Photos.S3.EXAMPLE.com"), Some("my.photos".to_owned()));
        assert_eq!(bucket("photos.local"), Some("photos".to_owned()));
        for path_style in [
            "s3.example.com",
            "s3.example.com:80",
            "other.org",
            "xs3.example.com",
            "localhost:9000",
            ".local",
            "[::1]:9000",
        ] {
            assert_eq!(bucket(path_style), None, "{path_style}");
        }
    }
}
