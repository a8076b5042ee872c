//! Folding: keys that have a delimiter after the prefix of a listing are shown as one, up to the delimiter.

/// What a listing shows of keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fold<'a> {
    prefix: &'a str,
    delimiter: Option<&'a str>,
}

impl<'a> Fold<'a> {
    /// A listing of keys that start with `prefix`. An empty delimiter is none.
    pub(super) fn new(prefix: &'a str, delimiter: Option<&'a str>) -> Fold<'a> {
        Fold { prefix, delimiter: delimiter.filter(|delimiter| !delimiter.is_empty()) }
    }

    /// The folded prefix that `key` lies in, if it does.
    pub(super) fn of<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.delimiter?;
        let rest = key.strip_prefix(self.prefix)?;
        let end = rest.find(delimiter)? + delimiter.len();
        Some(&key[..self.prefix.len() + end])
    }

    /// Whether `name` is what a listing shows for a folded prefix.
    pub(super) fn is_folded(&self, name: &str) -> bool {
        self.of(name) == Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::Fold;

    #[test]
    fn keys_fold_at_the_first_delimiter_after_the_prefix() {
        let fold = Fold::new("a/", Some("/"));
        assert_eq!(fold.of("a/b/c/d"), Some("a/b/"));
        assert_eq!(fold.of("a//b"), Some("a//"));
        assert_eq!(fold.of("a/b"), None);
        assert_eq!(fold.of("a/"), None);
        assert_eq!(fold.of("b/c/d"), None);
        assert!(fold.is_folded("a/b/") && !fold.is_folded("a/b/c/") && !fold.is_folded("a/b"));
        assert_eq!(Fold::new("", Some("--")).of("a-b--c--d"), Some("a-b--"));
        assert_eq!(Fold::new("", Some("")).of("a/b"), None);
        assert_eq!(Fold::new("", None).of("a/b"), None);
        assert_eq!(Fold::new("é", Some("é")).of("éaé"), Some("éaé"));
    }
}
