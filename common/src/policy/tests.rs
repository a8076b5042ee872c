//! What policies mean, in tables and properties.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const ALL: &str = r#""Resource": ["arn:aws:s3:::one", "arn:aws:s3:::one/*"]"#;

fn bucket() -> BucketName {
    BucketName::new("one").unwrap()
}

fn parse(text: &str) -> Result<Policy, PolicyError> {
    Policy::parse(text, &bucket())
}

/// A policy of one statement.
fn policy(elements: &str) -> Result<Policy, PolicyError> {
    parse(&format!(r#"{{"Version": "2012-10-17", "Statement": {{{elements}}}}}"#))
}

fn key(tenant: u32, access: &str) -> Asker<'_> {
    Asker::Key { tenant: TenantId(tenant), access }
}

fn nothing(_: &Fact) -> Option<String> {
    None
}

fn judge(policy: &Policy, asker: Asker<'_>, action: Action, key: Option<&str>) -> Verdict {
    policy.judge(asker, action, (&bucket(), key), &nothing)
}

#[test]
fn statements_are_about_their_principals() {
    for (principal, nobody, tenant, one) in [
        (r#""*""#, true, true, true),
        (r#"{"AWS": "*"}"#, true, true, true),
        (r#"{"AWS": ["arn:aws:iam::7:root"]}"#, false, true, true),
        (r#"{"AWS": "000000000007"}"#, false, true, true),
        (r#"{"CanonicalUser": "0000000000000000000000000000000000000000000000000000000000000007"}"#, false, true, true),
        (r#"{"AWS": "arn:aws:iam::7:user/AK"}"#, false, false, true),
        (r#"{"AWS": "arn:aws:iam::8:user/AK"}"#, false, false, false),
        (r#"{"AWS": ["8", "arn:aws:iam::9:root"]}"#, false, false, false),
    ] {
        let policy =
            policy(&format!(r#""Effect": "Allow", "Principal": {principal}, "Action": "s3:GetObject", {ALL}"#));
        let policy = policy.unwrap_or_else(|problem| panic!("{principal}: {problem}"));
        let allows = |asker| judge(&policy, asker, Action::GetObject, Some("k")) == Verdict::Allowed;
        let found = (allows(Asker::Nobody), allows(key(7, "XX")), allows(key(7, "AK")));
        assert_eq!(found, (nobody, tenant, one), "{principal}");
        assert_eq!(policy.is_public(), nobody, "{principal}");
    }
}

#[test]
fn statements_are_about_their_actions_and_resources() {
    let about = |action: &str, resource: &str| {
        policy(&format!(r#""Effect": "Allow", "Principal": "*", {action}, {resource}"#)).unwrap()
    };
    let allows = |policy: &Policy, action, key| judge(policy, Asker::Nobody, action, key) == Verdict::Allowed;
    let below = about(r#""Action": ["s3:Get*", "S3:putobject"]"#, r#""Resource": "arn:aws:s3:::one/a/*""#);
    assert!(allows(&below, Action::GetObject, Some("a/b/c")) && allows(&below, Action::PutObject, Some("a/")));
    assert!(!allows(&below, Action::GetObject, Some("a")) && !allows(&below, Action::DeleteObject, Some("a/b")));
    assert!(!allows(&below, Action::GetBucketPolicy, None));
    let all = about(r#""Action": "*""#, r#""Resource": "arn:aws:s3:::*""#);
    assert!(allows(&all, Action::ListBucket, None) && allows(&all, Action::GetObject, Some("k")));
    let but = about(r#""NotAction": "s3:Delete*""#, r#""NotResource": "arn:aws:s3:::one/secret/*""#);
    assert!(allows(&but, Action::GetObject, Some("k")) && !allows(&but, Action::DeleteObject, Some("k")));
    assert!(!allows(&but, Action::GetObject, Some("secret/k")));
    assert!(below.may_allow(Asker::Nobody, Action::PutObject) && !below.may_allow(Asker::Nobody, Action::ListBucket));
}

#[test]
fn conditions_hold_or_do_not() {
    let known = |fact: &Fact| match fact {
        Fact::SourceIp => Some("10.1.2.3".to_owned()),
        Fact::SecureTransport => Some("false".to_owned()),
        Fact::Referer => Some("http://www.example.com/a".to_owned()),
        Fact::ExistingTag(label) if label == "Security" => Some("public".to_owned()),
        _ => None,
    };
    for (condition, holds) in [
        (r#""StringLike": {"aws:Referer": ["http://x/*", "http://www.example.com/*"]}"#, true),
        (r#""StringNotLike": {"aws:Referer": ["http://x/*", "http://www.example.com/*"]}"#, false),
        (r#""StringEquals": {"aws:referer": "http://www.example.com/*"}"#, false),
        (r#""StringEqualsIgnoreCase": {"AWS:Referer": "HTTP://www.example.com/a"}"#, true),
        (r#""StringNotEqualsIgnoreCase": {"aws:Referer": "HTTP://www.example.com/a"}"#, false),
        (r#""IpAddress": {"aws:SourceIp": ["192.168.0.0/16", "10.0.0.0/8"]}"#, true),
        (r#""NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}"#, false),
        (r#""Bool": {"aws:SecureTransport": "false"}"#, true),
        (r#""Bool": {"aws:SecureTransport": true}"#, false),
        (r#""StringEquals": {"s3:ExistingObjectTag/Security": "public"}"#, true),
        (r#""StringEquals": {"s3:ExistingObjectTag/security": "public"}"#, false),
        // What is not known is not something, and is not nothing.
        (r#""StringEquals": {"s3:x-amz-acl": "private"}"#, false),
        (r#""StringNotEquals": {"s3:x-amz-acl": "private"}"#, true),
        (r#""StringEqualsIfExists": {"s3:x-amz-acl": "private"}"#, true),
        (r#""Null": {"s3:x-amz-acl": "true"}"#, true),
        (r#""Null": {"s3:x-amz-acl": false}"#, false),
        (r#""Null": {"aws:Referer": "true"}"#, false),
        // All must hold.
        (r#""Null": {"s3:x-amz-acl": "true"}, "Bool": {"aws:SecureTransport": "true"}"#, false),
        (r#""StringEquals": {"s3:ExistingObjectTag/Security": "public", "s3:x-amz-acl": "private"}"#, false),
    ] {
        let text = format!(
            r#""Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", {ALL}, "Condition": {{{condition}}}"#
        );
        let policy = policy(&text).unwrap_or_else(|problem| panic!("{condition}: {problem}"));
        let verdict = policy.judge(Asker::Nobody, Action::GetObject, (&bucket(), Some("k")), &known);
        assert_eq!(verdict == Verdict::Allowed, holds, "{condition}");
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    let with = |principal: &str, action: &str, rest: &str| {
        policy(&format!(r#""Effect": "Deny", "Principal": {principal}, "Action": {action}, {rest}"#)).map(drop)
    };
    let good = |rest: &str| with(r#""*""#, r#""s3:GetObject""#, rest);
    assert_eq!(good(ALL), Ok(()));
    for (rest, problem) in [
        (r#""Resource": []"#, PolicyError::Empty),
        (r#""Resource": "arn:aws:s3:::two/*""#, PolicyError::Resource),
        (r#""Resource": "arn:aws:s3:::one/${aws:username}/*""#, PolicyError::Resource),
        (r#""Resource": "one/*""#, PolicyError::Resource),
        (r#""Resource": "arn:aws:s3:::one""#, PolicyError::Mismatch),
        (r#""Resource": "arn:aws:s3:::one/*", "NotResource": "arn:aws:s3:::one""#, PolicyError::Form),
        (r#""Resource": "arn:aws:s3:::one/*", "Resource": "arn:aws:s3:::one""#, PolicyError::Form),
        (r#""Resource": "arn:aws:s3:::one/*", "NotPrincipal": "*""#, PolicyError::Form),
        (r#""Resource": "arn:aws:s3:::one/*", "Conditions": {}"#, PolicyError::Form),
        (r#""Resource": "arn:aws:s3:::one/*", "Effect": "Allow""#, PolicyError::Form),
    ] {
        assert_eq!(good(rest), Err(problem), "{rest}");
    }
    for condition in [
        r#""StringEquals": {"aws:PrincipalOrgID": "o-1"}"#,
        r#""StringSame": {"aws:Referer": "x"}"#,
        r#""ForAllValues:StringEquals": {"aws:Referer": "x"}"#,
        r#""NullIfExists": {"aws:Referer": "true"}"#,
        r#""Bool": {"aws:SecureTransport": "yes"}"#,
        r#""StringEquals": {"aws:SourceIp": "10.0.0.1"}"#,
        r#""IpAddress": {"aws:SourceIp": "10.0.0.1/40"}"#,
        r#""StringEquals": {"aws:Referer": "${aws:username}"}"#,
        r#""StringEquals": {"s3:ExistingObjectTag/": "x"}"#,
        r#""StringEquals": {"aws:Referer": []}"#,
    ] {
        let refused = good(&format!(r#"{ALL}, "Condition": {{{condition}}}"#));
        assert_eq!(refused, Err(PolicyError::Condition), "{condition}");
    }
    let twice = r#""Condition": {"Bool": {"aws:SecureTransport": "true"}, "Bool": {"aws:SecureTransport": "false"}}"#;
    assert_eq!(good(&format!("{ALL}, {twice}")), Err(PolicyError::Form));
    for principal in
        [r#""7""#, r#"{"AWS": []}"#, r#"{"AWS": "arn:aws:iam::x:root"}"#, r#"{"AWS": "arn:aws:iam::7:role/r"}"#, "{}"]
    {
        assert_eq!(with(principal, r#""s3:*""#, ALL), Err(PolicyError::Principal), "{principal}");
    }
    for action in [r#""s3:Unknown""#, r#""ec2:*""#, r#""GetObject""#, r#"["s3:GetObject", "s3:X*"]"#] {
        assert_eq!(with(r#""*""#, action, ALL), Err(PolicyError::Action), "{action}");
    }
    for text in ["", "{}", "[]", r#"{"Statement": []}"#, r#"{"Version": "2013", "Statement": {}}"#, "nonsense"] {
        assert!(parse(text).is_err(), "{text}");
    }
    assert_eq!(parse(&" ".repeat(crate::limits::POLICY_MAX_BYTES + 1)), Err(PolicyError::Length));
}

#[test]
fn only_few_addresses_keep_a_policy_from_being_public() {
    let public = |condition: &str| {
        let statement = format!(r#""Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", {ALL}"#);
        policy(&format!(r#"{statement}, "Condition": {{{condition}}}"#)).unwrap().is_public()
    };
    assert!(!public(r#""IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "2001:db8::/32"]}"#));
    for condition in [
        r#""IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "0.0.0.0/0"]}"#,
        r#""IpAddressIfExists": {"aws:SourceIp": "10.0.0.0/8"}"#,
        r#""NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}"#,
        r#""StringLike": {"aws:Referer": "http://mine/*"}"#,
    ] {
        assert!(public(condition), "{condition}");
    }
    let deny = policy(&format!(r#""Effect": "Deny", "Principal": "*", "Action": "s3:*", {ALL}"#)).unwrap();
    assert!(!deny.is_public());
}

fn statement() -> impl Strategy<Value = String> {
    let principal =
        prop::sample::select(vec![r#""*""#, r#"{"AWS": "7"}"#, r#"{"AWS": ["8", "arn:aws:iam::7:user/AK"]}"#]);
    let action = prop::sample::select(vec!["s3:GetObject", "s3:*", "s3:Get*", "s3:PutObject", "*"]);
    let resource = prop::sample::select(vec!["arn:aws:s3:::one/*", "arn:aws:s3:::one*", "arn:aws:s3:::one/a*"]);
    let condition = prop::sample::select(vec![
        "{}",
        r#"{"Bool": {"aws:SecureTransport": "true"}}"#,
        r#"{"StringNotEquals": {"aws:Referer": "r"}}"#,
    ]);
    (any::<bool>(), principal, action, resource, condition).prop_map(|(allow, principal, action, resource, condition)| {
        let effect = if allow { "Allow" } else { "Deny" };
        format!(
            r#"{{"Effect": "{effect}", "Principal": {principal}, "Action": "{action}", "Resource": "{resource}", "Condition": {condition}}}"#
        )
    })
}

proptest! {
    /// A policy is what its statements are, one by one, in any order: denied if one denies, else allowed if one allows.
    #[test]
    fn a_deny_always_wins(
        statements in prop::collection::vec(statement(), 1..6),
        asker in prop::sample::select(vec![Asker::Nobody, key(7, "AK"), key(7, "XX"), key(8, "AK")]),
        action in prop::sample::select(vec![Action::GetObject, Action::PutObject]),
        name in prop::sample::select(vec!["a", "ab", "b"]),
        facts in prop::collection::btree_map(
            prop::sample::select(vec![Fact::SecureTransport, Fact::Referer]),
            prop::sample::select(vec!["true", "r"]),
            0..3,
        ),
    ) {
        let facts: BTreeMap<Fact, &str> = facts;
        let know = |fact: &Fact| facts.get(fact).map(|value| (*value).to_owned());
        let verdict = |list: &[String]| {
            let whole = parse(&format!(r#"{{"Statement": [{}]}}"#, list.join(", "))).unwrap();
            whole.judge(asker, action, (&bucket(), Some(name)), &know)
        };
        let each: Vec<Verdict> = statements.iter().map(|one| verdict(std::slice::from_ref(one))).collect();
        let expected = [Verdict::Denied, Verdict::Allowed].into_iter().find(|verdict| each.contains(verdict));
        prop_assert_eq!(verdict(&statements), expected.unwrap_or(Verdict::Silent));
        let reversed: Vec<String> = statements.iter().rev().cloned().collect();
        prop_assert_eq!(verdict(&reversed), verdict(&statements));
    }

    /// A word more than is understood makes no policy, wherever it stands.
    #[test]
    fn a_policy_with_an_unknown_word_never_allows(one in statement(), word in "[A-Za-z]{3,9}", place in 0..3usize) {
        let stray = format!(r#""X{word}": "s3:GetObject""#);
        let text = match place {
            0 => format!(r#"{{{stray}, "Statement": [{one}]}}"#),
            1 => format!(r#"{{"Statement": [{{{stray}, {}]}}"#, &one[1..]),
            _ => format!(r#"{{"Statement": [{one}, {{{stray}}}]}}"#),
        };
        prop_assert_eq!(parse(&text), Err(PolicyError::Form));
    }

    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        let _ = parse(&text);
    }
}
