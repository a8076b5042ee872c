//! How many copies make a write durable.

/// Write quorum of `replicas` copies: W = ⌊R/2⌋ + 1. Of the *configured* number, never of the nodes alive (P1).
pub fn write_quorum(replicas: u8) -> usize {
    assert!(replicas > 0, "a bucket keeps at least one copy");
    usize::from(replicas) / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::write_quorum;

    #[test]
    fn any_two_write_quorums_share_a_copy() {
        for replicas in 1..=crate::limits::REPLICAS_MAX {
            assert!(2 * write_quorum(replicas) > usize::from(replicas));
            assert!(write_quorum(replicas) <= usize::from(replicas));
        }
    }
}
