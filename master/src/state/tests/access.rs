use super::*;
use cairn_common::limits::{ACCESS_KEYS_MAX, JOIN_TOKENS_MAX, TEXT_MAX_BYTES};
use cairn_common::wire::command::KeyRecord;

fn record(access: &str) -> KeyRecord {
    KeyRecord {
        access: access.to_owned(),
        name: "tester".to_owned(),
        sealed_secret: vec![1, 2, 3],
        tenant: TenantId::FIRST,
        cluster_admin: false,
        grants: Vec::new(),
        created: Stamp(1),
        expires: None,
    }
}

fn create(access: &str) -> Command {
    Command::CreateKey(Box::new(record(access)))
}

fn token(id: &str, expires: Stamp) -> Command {
    Command::CreateJoinToken { id: id.to_owned(), secret_hash: [1; 32], expires }
}

#[test]
fn an_access_key_is_made_once_and_removed_once() {
    let mut world = World::new();
    assert_eq!(world.run(create("AK")), Ok(Done::Nothing));
    assert_eq!(world.run(create("AK")), Err(Refusal::KeyExists("AK".to_owned())));
    let delete = Command::DeleteKey { access: "AK".to_owned() };
    assert_eq!(world.run(delete.clone()), Ok(Done::Nothing));
    assert_eq!(world.run(delete), Err(Refusal::NoSuchKey("AK".to_owned())));
    assert_eq!(world.run(create("AK")), Ok(Done::Nothing));
}

#[test]
fn access_keys_and_their_ids_are_bounded() {
    let mut world = World::new();
    for bad in ["", &"x".repeat(TEXT_MAX_BYTES + 1)] {
        assert!(matches!(world.run(create(bad)), Err(Refusal::Invalid(_))));
    }
    use crate::store::key::{Record, RowKey};
    let mut totals = world.view().row(&TotalsKey).unwrap().unwrap();
    totals.keys = ACCESS_KEYS_MAX;
    let mut batch = crate::store::WriteBatch::new();
    batch.put(TotalsKey::TABLE, TotalsKey.encode(), totals.to_bytes());
    world.store.write(&batch, &world.store.applied().unwrap()).unwrap();
    world.checked = false;
    assert!(matches!(world.run(create("AK")), Err(Refusal::Invalid(_))));
}

#[test]
fn join_tokens_are_bounded_and_old_ones_make_room() {
    let mut world = World::new();
    world.checked = false;
    let used = world.servers.len() - 1;
    for n in used..JOIN_TOKENS_MAX {
        let expires = world.now.plus_ms(1000);
        world.run(token(&format!("t{n}"), expires)).unwrap();
    }
    let expires = world.now.plus_ms(1000);
    assert!(matches!(world.run(token("more", expires)), Err(Refusal::Invalid(_))));
    world.wait_ms(60_001);
    let expires = world.now.plus_ms(1000);
    assert_eq!(world.run(token("more", expires)), Ok(Done::Nothing));
    assert_eq!(world.run(token("more", expires)), Err(Refusal::KeyExists("more".to_owned())));
}
