//! Patterns of policies: `*` is any text, also none and also over `/`; `?` is any one character.

use std::collections::BTreeSet;

/// Whether a pattern stands for `text`. At most pattern × text steps, whatever either is.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (mut rest, mut left) = (pattern.chars(), text.chars());
    // Behind the last star, and what of the text it has not yet taken.
    let mut star = None;
    loop {
        let mut next = rest.clone();
        match next.next() {
            Some('*') => {
                star = Some((next.clone(), left.clone()));
                rest = next;
                continue;
            }
            Some(wanted) => {
                let mut behind = left.clone();
                if behind.next().is_some_and(|found| wanted == '?' || wanted == found) {
                    (rest, left) = (next, behind);
                    continue;
                }
            }
            None if left.as_str().is_empty() => return true,
            None => {}
        }
        // It did not go on: the last star takes one character more.
        let Some((after, untaken)) = &mut star else { return false };
        if untaken.next().is_none() {
            return false;
        }
        (rest, left) = (after.clone(), untaken.clone());
    }
}

/// Whether a pattern stands for any text that begins with `start`.
pub(crate) fn reaches(pattern: &str, start: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let mut places = BTreeSet::from([0]);
    for found in start.chars() {
        let mut next = BTreeSet::new();
        let mut open: Vec<usize> = places.into_iter().collect();
        while let Some(place) = open.pop() {
            match pattern.get(place) {
                Some('*') => {
                    next.insert(place);
                    open.push(place + 1);
                }
                Some(wanted) if *wanted == '?' || *wanted == found => {
                    next.insert(place + 1);
                }
                _ => {}
            }
        }
        places = next;
    }
    !places.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_and_question_marks_stand_for_text() {
        for (pattern, text) in
            [("*", ""), ("a*", "a"), ("a*c", "abcbc"), ("a?c", "aéc"), ("*/*", "a/b/c"), ("**", "x"), ("", "")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("?", ""), ("a*c", "ab"), ("a", "ab"), ("a?", "a"), ("A", "a")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
        assert!(reaches("a*", "a/") && reaches("*", "a/") && reaches("a/b", "a/") && reaches("?/*", "a/"));
        assert!(!reaches("a", "a/") && !reaches("b/*", "a/"));
    }

    /// The obvious way, exponential.
    fn slowly(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((&'*', rest)), _) if slowly(rest, text) => true,
            (Some((&'*', _)), Some((_, left))) => slowly(pattern, left),
            (Some((wanted, rest)), Some((found, left))) => {
                *wanted != '*' && (*wanted == '?' || wanted == found) && slowly(rest, left)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_the_obvious_way_finds(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}", more in "[ab]{0,4}") {
            let chars = |text: &str| text.chars().collect::<Vec<char>>();
            let found = matches(&pattern, &text);
            prop_assert_eq!(found, slowly(&chars(&pattern), &chars(&text)));
            if matches(&pattern, &format!("{text}{more}")) {
                prop_assert!(reaches(&pattern, &text));
            }
        }
    }
}
