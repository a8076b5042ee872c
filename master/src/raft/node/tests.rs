use super::super::{ApplyError, ConfState, MemoryLog};
use super::*;
use cairn_common::seam::SystemClock;
use cairn_common::wire::command::{Command, Done};
use std::collections::BTreeMap;

/// Remembers the ttl of every OpenSession, and forgets what was not flushed when it "crashes".
#[derive(Clone, Default)]
struct Recorder {
    state: Arc<Mutex<Recorded>>,
}

#[derive(Clone, Default)]
struct Recorded {
    applied: (u64, Stamp),
    conf: ConfState,
    seen: Vec<(Stamp, u64)>,
    flushed: Option<Box<Recorded>>,
}

impl Recorder {
    fn new(voters: &[u64]) -> Recorder {
        let recorder = Recorder::default();
        recorder.state.lock().unwrap().conf = ConfState { voters: voters.to_vec(), ..ConfState::default() };
        recorder
    }

    fn seen(&self) -> Vec<u64> {
        self.state.lock().unwrap().seen.iter().map(|(_, ttl)| *ttl).collect()
    }

    fn crashed(&self) -> Recorder {
        let state = self.state.lock().unwrap();
        let begin = Recorded { conf: state.conf.clone(), ..Recorded::default() };
        let flushed = state.flushed.clone().map_or(begin, |flushed| *flushed);
        Recorder { state: Arc::new(Mutex::new(flushed)) }
    }
}

impl StateMachine for Recorder {
    fn applied(&self) -> (u64, Stamp) {
        self.state.lock().unwrap().applied
    }

    fn apply(&mut self, index: u64, _: u64, base: Stamp, commands: &[Envelope]) -> Result<Vec<Outcome>, ApplyError> {
        let mut state = self.state.lock().unwrap();
        assert_eq!(index, state.applied.0 + 1);
        for (stamp, envelope) in (0..).map(|i| base.next(i)).zip(commands) {
            assert!(stamp > state.applied.1, "stamps grow");
            state.applied.1 = stamp;
            if let Command::OpenSession { ttl_ms, .. } = envelope.command {
                state.seen.push((stamp, ttl_ms));
            }
        }
        state.applied.0 = index;
        Ok(commands.iter().map(|_| Ok(Done::Nothing)).collect())
    }

    fn conf(&self) -> ConfState {
        self.state.lock().unwrap().conf.clone()
    }

    fn apply_conf(&mut self, index: u64, _: u64, conf: &ConfState) -> Result<(), ApplyError> {
        let mut state = self.state.lock().unwrap();
        assert_eq!(index, state.applied.0 + 1);
        (state.applied.0, state.conf) = (index, conf.clone());
        Ok(())
    }

    fn install(&mut self, _: u64, _: u64) -> Result<(), ApplyError> {
        Err(ApplyError("these never miss so much".to_owned()))
    }

    fn flush(&mut self) -> Result<u64, ApplyError> {
        let mut state = self.state.lock().unwrap();
        let copy = Recorded { flushed: None, ..state.clone() };
        state.flushed = Some(Box::new(copy));
        Ok(state.applied.0)
    }
}

fn command(ttl_ms: u64) -> Envelope {
    let owner = cairn_common::wire::master::Caller::Anonymous;
    Envelope { session: None, command: Command::OpenSession { ttl_ms, owner } }
}

fn config(node: u32, run: u64) -> GroupConfig {
    GroupConfig {
        node: NodeId(node),
        run,
        outbox: Box::new(|_| ()),
        snapshots: None,
        fatal: Box::new(|reason| panic!("{reason}")),
    }
}

fn alone(recorder: &Recorder, log: &MemoryLog, run: u64) -> Group {
    Group::start(config(1, run), recorder.clone(), log.clone(), Arc::new(SystemClock::new())).unwrap()
}

/// Proposes until a leader takes it.
async fn propose(group: &Group, ttl_ms: u64) {
    loop {
        match group.propose(command(ttl_ms)).await {
            Ok(outcome) => return assert_eq!(outcome, Ok(Done::Nothing)),
            Err(GroupError::NotLeader(_) | GroupError::Overloaded) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn commands_that_wait_together_share_an_entry_and_keep_their_order() {
    let (recorder, log) = (Recorder::new(&[1]), MemoryLog::default());
    let group = alone(&recorder, &log, 1);
    propose(&group, 0).await;
    futures::future::join_all((1..=500).map(|n| propose(&group, n))).await;
    assert_eq!(recorder.seen(), (0..=500).collect::<Vec<_>>());
    let status = group.status();
    assert!(status.leading && status.commands == 501, "{status:?}");
    assert!(status.entries < 400, "{} entries for 501 commands", status.entries);
    group.read_barrier().await.unwrap();
    group.stop();
    assert_eq!(group.propose(command(9)).await, Err(GroupError::Stopped));
}

#[tokio::test]
async fn what_was_acknowledged_is_applied_again_after_a_crash() {
    let log = MemoryLog::default();
    let mut recorder = Recorder::new(&[1]);
    for run in 1..=4u64 {
        let group = alone(&recorder, &log, run);
        for n in 0..20 {
            propose(&group, run * 100 + n).await;
        }
        if run % 2 == 0 {
            group.flush().await.unwrap();
        }
        for n in 20..25 {
            propose(&group, run * 100 + n).await;
        }
        // The group goes on running, but on a copy of the log and of the state that nobody looks at again.
        let crashed = recorder.crashed();
        assert!(crashed.seen().len() < recorder.seen().len());
        let expected = recorder.seen();
        group.stop();
        recorder = crashed;
        let group = alone(&recorder, &log, run + 100);
        propose(&group, run * 100 + 99).await;
        assert_eq!(recorder.seen()[..expected.len()], expected);
        group.stop();
    }
}

#[tokio::test]
async fn a_log_that_is_older_than_the_state_is_refused() {
    let (recorder, log) = (Recorder::new(&[1]), MemoryLog::default());
    let group = alone(&recorder, &log, 1);
    propose(&group, 1).await;
    group.stop();
    let fresh = MemoryLog::default();
    let error = Group::start(config(1, 2), recorder, fresh, Arc::new(SystemClock::new())).err().unwrap();
    assert!(error.to_string().contains("old copy"), "{error}");
}

/// Three members whose messages go straight into each other's queues.
fn three() -> (Vec<Arc<Group>>, Vec<Recorder>) {
    let groups: Arc<Mutex<BTreeMap<u64, Arc<Group>>>> = Arc::default();
    let recorders: Vec<Recorder> = (0..3).map(|_| Recorder::new(&[1, 2, 3])).collect();
    for node in 1..=3u32 {
        let peers = Arc::clone(&groups);
        let outbox = Box::new(move |messages: Vec<Message>| {
            for message in messages {
                let peer = peers.lock().unwrap().get(&message.to).cloned();
                if let Some(peer) = peer {
                    // A full queue loses the message, as a network may.
                    let _ = peer.step(message);
                }
            }
        });
        let config = GroupConfig { outbox, ..config(node, u64::from(node)) };
        let recorder = recorders[node as usize - 1].clone();
        let group = Group::start(config, recorder, MemoryLog::default(), Arc::new(SystemClock::new())).unwrap();
        groups.lock().unwrap().insert(u64::from(node), Arc::new(group));
    }
    let all = groups.lock().unwrap().values().cloned().collect();
    (all, recorders)
}

async fn leader(groups: &[Arc<Group>]) -> usize {
    loop {
        if let Some(leader) = groups.iter().position(|group| group.status().leading) {
            return leader;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn three_members_agree_and_any_of_them_reads_what_was_acknowledged() {
    let (groups, recorders) = three();
    let first = leader(&groups).await;
    for n in 0..50 {
        propose(&groups[first], n).await;
    }
    for (group, recorder) in groups.iter().zip(&recorders) {
        group.read_barrier().await.unwrap();
        assert_eq!(recorder.seen(), (0..50).collect::<Vec<_>>());
    }
    let follower = (first + 1) % 3;
    let refused = groups[follower].propose(command(1)).await;
    assert_eq!(refused, Err(GroupError::NotLeader(Some(NodeId(first as u32 + 1)))));
    // The others go on without the leader, and have all it acknowledged.
    groups[first].stop();
    let rest: Vec<Arc<Group>> =
        groups.iter().enumerate().filter(|(n, _)| *n != first).map(|(_, group)| Arc::clone(group)).collect();
    let second = leader(&rest).await;
    propose(&rest[second], 50).await;
    let survivor = groups.iter().position(|group| Arc::ptr_eq(group, &rest[second])).unwrap();
    assert_eq!(recorders[survivor].seen(), (0..=50).collect::<Vec<_>>());
    rest.iter().for_each(|group| group.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_readers_at_once_are_all_answered_and_after_the_end_all_are_told() {
    let (groups, _) = three();
    leader(&groups).await;
    for group in &groups {
        let read = |group: &Arc<Group>| {
            let group = Arc::clone(group);
            tokio::spawn(async move {
                for _ in 0..50 {
                    group.read_barrier().await.unwrap();
                }
            })
        };
        for reader in (0..32).map(|_| read(group)).collect::<Vec<_>>() {
            reader.await.unwrap();
        }
    }
    for group in &groups {
        group.stop();
        assert_eq!(group.read_barrier().await, Err(GroupError::Stopped));
        assert_eq!(group.read_barrier().await, Err(GroupError::Stopped));
    }
}
