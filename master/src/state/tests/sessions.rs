//! Sessions: retries, forgotten answers, ends; and windows.

use super::*;
use cairn_common::limits::{
    RELEASE_ROWS_MAX, SESSION_TTL_MS, SESSION_UNANSWERED_MAX, SESSIONS_MAX, WINDOW_MAX_MS, WINDOWS_MAX,
};
use cairn_common::seam::must_fail_without;

fn at(world: &World, sequence: u64, lowest: u64, command: Command) -> Envelope {
    Envelope { session: Some(SessionSequence { session: world.session, sequence, lowest }), command }
}

fn one(world: &mut World, envelope: Envelope) -> Outcome {
    world.entry(&[envelope]).pop().unwrap()
}

fn create(bucket: &str) -> Command {
    Command::CreateBucket { name: name(bucket), tenant: TenantId::FIRST, replicas: None, lock: false }
}

#[test]
fn a_retry_gets_the_first_answer_and_does_nothing() {
    let mut world = World::new();
    let first = at(&world, 10, 10, Command::CommitFile(Box::new(inline("k", b"one"))));
    let answer = one(&mut world, first.clone());
    assert!(matches!(answer, Ok(Done::Committed(_))));
    // Another client writes in between: the retry must not bring the old bytes back.
    world.open_session();
    let second = world.put_inline("k", b"two");
    assert_eq!(one(&mut world, first), answer);
    let now = world.view().row(&crate::store::key::CurrentKey { bucket: bucket_id(&world), key: "k" });
    assert_eq!(now.unwrap().unwrap().stamp, second.stamp);
}

fn bucket_id(world: &World) -> cairn_common::ids::BucketId {
    world.view().row(&BucketKey(&name("one"))).unwrap().unwrap().id
}

#[test]
fn a_refusal_is_an_answer_too() {
    let mut world = World::new();
    let delete = at(&world, 10, 10, Command::DeleteBucket { name: name("two") });
    assert_eq!(one(&mut world, delete.clone()), Err(Refusal::NoSuchBucket(name("two"))));
    world.bucket("two");
    assert_eq!(one(&mut world, delete), Err(Refusal::NoSuchBucket(name("two"))));
}

#[test]
fn a_retry_within_one_entry_gets_the_first_answer() {
    let mut world = World::new();
    let envelope = at(&world, 10, 10, create("two"));
    let outcomes = world.entry(&[envelope.clone(), envelope]);
    assert!(outcomes[0].is_ok());
    assert_eq!(outcomes[0], outcomes[1]);
}

#[test]
fn answers_below_the_lowest_unanswered_are_forgotten_and_never_executed_again() {
    let mut world = World::new();
    let first = at(&world, 10, 10, create("two"));
    let later = at(&world, 12, 11, create("three"));
    one(&mut world, first.clone()).unwrap();
    one(&mut world, later.clone()).unwrap();
    assert_eq!(one(&mut world, first), Err(Refusal::SessionEnded));
    // A number that was skipped, between lowest and the newest, is still good.
    let between = at(&world, 11, 11, create("four"));
    assert!(one(&mut world, between).is_ok());
    assert!(matches!(one(&mut world, later), Ok(Done::Bucket { .. })));
    let contradiction = at(&world, 13, 14, create("five"));
    assert_eq!(one(&mut world, contradiction), Err(Refusal::SessionEnded));
    let zero = at(&world, 0, 0, create("five"));
    assert_eq!(one(&mut world, zero), Err(Refusal::SessionEnded));
}

#[test]
fn unanswered_commands_are_bounded() {
    let mut world = World::new();
    let far = at(&world, 10 + SESSION_UNANSWERED_MAX, 10, create("two"));
    assert_eq!(one(&mut world, far), Err(Refusal::SessionCrowded));
    let last = at(&world, 9 + SESSION_UNANSWERED_MAX, 10, create("two"));
    assert!(one(&mut world, last).is_ok());
    let jump = at(&world, u64::MAX - 1, u64::MAX - 1, create("three"));
    assert!(one(&mut world, jump).is_ok(), "however far the numbers jump, nothing breaks");
    let beyond = at(&world, u64::MAX, u64::MAX, create("four"));
    assert_eq!(one(&mut world, beyond), Err(Refusal::SessionCrowded));
}

#[test]
fn a_command_of_an_ended_session_is_never_executed() {
    let mut world = World::new();
    let session = world.session;
    let window = world.window;
    world.bare(Command::EndSession { session }).unwrap();
    assert_eq!(world.run(create("two")), Err(Refusal::SessionEnded));
    assert_eq!(world.run(Command::OpenWindow), Err(Refusal::SessionEnded));
    assert_eq!(world.bare(Command::RenewSession { session }), Err(Refusal::SessionEnded));
    assert_eq!(world.bare(Command::EndSession { session }), Ok(Done::Nothing));
    assert!(world.view().row(&BucketKey(&name("two"))).unwrap().is_none());
    let start = crate::store::key::WindowStartKey(window);
    assert!(world.view().row(&start).unwrap().is_none(), "its windows ended with it");
}

#[test]
fn a_retry_after_the_end_of_its_session_is_not_executed() {
    let mut world = World::new();
    let session = world.session;
    let first = at(&world, 10, 10, Command::CommitFile(Box::new(inline("k", b"one"))));
    one(&mut world, first.clone()).unwrap();
    world.bare(Command::EndSession { session }).unwrap();
    // Another client writes in between: the retry must not bring the old bytes back.
    world.open_session();
    let second = world.put_inline("k", b"two");
    assert_eq!(one(&mut world, first), Err(Refusal::SessionEnded));
    let now = world.view().row(&crate::store::key::CurrentKey { bucket: bucket_id(&world), key: "k" });
    assert_eq!(now.unwrap().unwrap().stamp, second.stamp);
}

#[test]
fn a_session_can_end_itself() {
    let mut world = World::new();
    let session = world.session;
    assert_eq!(world.run(Command::EndSession { session }), Ok(Done::Nothing));
    assert_eq!(world.run(create("two")), Err(Refusal::SessionEnded));
}

#[test]
fn sessions_expire_by_the_stamp_of_a_command_and_by_nothing_else() {
    let mut world = World::new();
    let (session, expire) = (world.session, Command::ExpireSessions { sessions: vec![world.session] });
    world.wait_ms(SESSION_TTL_MS - 1000);
    world.bare(expire.clone()).unwrap();
    assert!(world.run(create("two")).is_ok(), "its time is not over");
    world.bare(Command::RenewSession { session }).unwrap();
    world.wait_ms(SESSION_TTL_MS - 1000);
    world.bare(expire.clone()).unwrap();
    assert!(world.run(create("three")).is_ok(), "it was renewed");
    world.wait_ms(SESSION_TTL_MS);
    assert!(world.run(create("four")).is_ok(), "its time is over, and no command ended it");
    world.bare(expire).unwrap();
    assert_eq!(world.run(create("five")), Err(Refusal::SessionEnded));
}

#[test]
fn an_entry_that_expires_sessions_is_bounded() {
    let mut world = World::new();
    let mut sessions = Vec::new();
    for _ in 0..4 {
        world.open_session();
        sessions.push(world.session);
        let filled: Vec<Envelope> =
            (2..2000).map(|n| at(&world, n, 1, Command::CloseWindow { window: WindowId(0) })).collect();
        world.entry(&filled);
    }
    world.wait_ms(SESSION_TTL_MS + 1);
    let envelope = Envelope { session: None, command: Command::ExpireSessions { sessions: sessions.clone() } };
    let applied = Machine::new().apply_entry(&*world.store, world.now.next(1), &[envelope]).unwrap();
    assert!(applied.batch.len() < 2 * RELEASE_ROWS_MAX, "{}", applied.batch.len());
    world.bare(Command::ExpireSessions { sessions: sessions.clone() }).unwrap();
    let left = |world: &World| {
        let row = |id: &&SessionId| world.view().row(&crate::store::key::SessionKey(**id)).unwrap().is_some();
        sessions.iter().filter(row).count()
    };
    assert_eq!(left(&world), 1);
    world.bare(Command::ExpireSessions { sessions: sessions.clone() }).unwrap();
    assert_eq!(left(&world), 0);
}

#[test]
fn sessions_are_bounded() {
    let mut world = World::new();
    let mut totals = world.view().row(&TotalsKey).unwrap().unwrap();
    totals.sessions = SESSIONS_MAX;
    let mut batch = crate::store::WriteBatch::new();
    use crate::store::key::{Record, RowKey};
    batch.put(TotalsKey::TABLE, TotalsKey.encode(), totals.to_bytes(&mut Vec::new()));
    world.store.write(&batch, &world.store.applied().unwrap()).unwrap();
    world.checked = false;
    let open = Command::OpenSession { ttl_ms: 1, owner: Caller::Anonymous };
    assert_eq!(world.bare(open), Err(Refusal::TooManySessions));
}

#[test]
fn windows_of_a_session_are_bounded_and_end_after_an_hour() {
    let mut world = World::new();
    world.checked = false;
    for _ in 1..WINDOWS_MAX {
        world.run(Command::OpenWindow).unwrap();
    }
    world.checked = true;
    assert_eq!(world.run(Command::OpenWindow), Err(Refusal::SessionCrowded));
    let window = world.window;
    world.run(Command::CloseWindow { window }).unwrap();
    world.run(Command::OpenWindow).unwrap();
    assert_eq!(world.run(Command::OpenWindow), Err(Refusal::SessionCrowded));
    world.wait_ms(WINDOW_MAX_MS);
    world.release();
    assert!(world.run(Command::OpenWindow).is_ok());
}

#[test]
fn a_session_closes_its_own_windows_only() {
    let mut world = World::new();
    let window = world.window;
    world.open_session();
    world.run(Command::CloseWindow { window }).unwrap();
    assert!(world.view().row(&crate::store::key::WindowStartKey(window)).unwrap().is_some());
}

#[test]
fn a_rule_about_retries_is_missed_when_it_is_left_out() {
    must_fail_without("retry-executed-twice", a_retry_gets_the_first_answer_and_does_nothing);
    must_fail_without("retry-after-session-end", a_retry_after_the_end_of_its_session_is_not_executed);
}
