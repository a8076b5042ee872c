//! Bodies for load: incompressible and all different, so that neither compression nor sharing of chunks helps anybody; and cheap, so that
//! the generator is not what is measured.

use bytes::{Bytes, BytesMut};

/// Every stretch of so many bytes differs from that of any other body.
const STRETCH: usize = 64 << 10;

/// Makes the bodies of a run.
pub(super) struct Bodies {
    noise: Bytes,
}

impl Bodies {
    /// Bodies of `size` bytes; another `seed` has others.
    pub(super) fn new(size: usize, seed: u64) -> Bodies {
        let mut noise = vec![0; size];
        blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof().fill(&mut noise);
        Bodies { noise: noise.into() }
    }

    /// The body of object `number`.
    pub(super) fn of(&self, number: u64) -> Bytes {
        let mut body = BytesMut::from(&self.noise[..]);
        for (index, stretch) in body.chunks_mut(STRETCH).enumerate() {
            let mark = (number << 24 | index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
            for (byte, mark) in stretch.iter_mut().zip(mark) {
                *byte ^= mark;
            }
        }
        body.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_differ_everywhere_and_come_again() {
        let bodies = Bodies::new(3 * STRETCH, 1);
        let (one, other) = (bodies.of(1), bodies.of(2));
        assert_eq!(one, Bodies::new(3 * STRETCH, 1).of(1));
        assert_ne!(one, Bodies::new(3 * STRETCH, 2).of(1));
        assert!((0..3).all(|at| one[at * STRETCH..(at + 1) * STRETCH] != other[at * STRETCH..(at + 1) * STRETCH]));
        assert_eq!(Bodies::new(0, 1).of(5).len(), 0);
    }
}
