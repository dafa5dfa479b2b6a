//! Scratch memory of a step: buffers with lifetimes in phases, placed so that those alive together do not overlap.

use gem_runtime::abi::ARG_UNIT;

/// A buffer of the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Buffer(usize);

#[derive(Clone, Copy, Debug)]
struct Life {
    bytes: u64,
    /// First and last phase that touch it.
    span: Option<(usize, usize)>,
}

/// Buffers in the order they were asked for.
#[derive(Clone, Debug, Default)]
pub struct Arena {
    buffers: Vec<Life>,
}

/// Where each buffer lies.
#[derive(Clone, Debug)]
pub struct Placement {
    offsets: Vec<u64>,
    /// Bytes of the arena.
    pub bytes: u64,
}

impl Placement {
    /// Byte offset of a buffer.
    #[must_use]
    pub fn offset(&self, buffer: Buffer) -> u64 {
        self.offsets[buffer.0]
    }
}

impl Arena {
    /// Reserves a buffer of this many bytes; where it lies is decided when its uses are known.
    pub fn buffer(&mut self, bytes: usize) -> Buffer {
        let bytes = bytes.next_multiple_of(ARG_UNIT) as u64;
        self.buffers.push(Life { bytes, span: None });
        Buffer(self.buffers.len() - 1)
    }

    /// Phase `phase` reads or writes the buffer.
    pub fn touch(&mut self, buffer: Buffer, phase: usize) {
        let span = &mut self.buffers[buffer.0].span;
        *span = Some(match *span {
            None => (phase, phase),
            Some((first, last)) => (first.min(phase), last.max(phase)),
        });
    }

    /// Whether the buffer is first touched before phase `phase`.
    #[must_use]
    pub fn begins_before(&self, buffer: Buffer, phase: usize) -> bool {
        self.buffers[buffer.0]
            .span
            .is_some_and(|(first, _)| first < phase)
    }

    /// Places all buffers: largest first, each at the lowest offset free for its whole life.
    #[must_use]
    pub fn place(&self) -> Placement {
        let mut order: Vec<usize> = (0..self.buffers.len()).collect();
        order.sort_by_key(|&i| (std::cmp::Reverse(self.buffers[i].bytes), i));
        let mut offsets = vec![0; self.buffers.len()];
        let mut placed: Vec<usize> = Vec::new();
        let mut bytes = 0;
        for i in order {
            let Some(span) = self.buffers[i].span else {
                continue;
            };
            let mut taken: Vec<(u64, u64)> = placed
                .iter()
                .filter(|&&j| {
                    self.buffers[j]
                        .span
                        .is_some_and(|other| overlap(span, other))
                })
                .map(|&j| (offsets[j], offsets[j] + self.buffers[j].bytes))
                .collect();
            taken.sort_unstable();
            let mut offset = 0;
            for (start, end) in taken {
                if offset + self.buffers[i].bytes <= start {
                    break;
                }
                offset = offset.max(end);
            }
            offsets[i] = offset;
            bytes = bytes.max(offset + self.buffers[i].bytes);
            placed.push(i);
        }
        Placement { offsets, bytes }
    }
}

fn overlap(a: (usize, usize), b: (usize, usize)) -> bool {
    a.0 <= b.1 && b.0 <= a.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_alive_together_do_not_overlap_and_others_share() {
        let mut arena = Arena::default();
        let [a, b, c] = [100, 64, 128].map(|n| arena.buffer(n));
        for (buffer, phases) in [(a, [0, 1]), (b, [1, 2]), (c, [2, 3])] {
            phases.into_iter().for_each(|p| arena.touch(buffer, p));
        }
        let placement = arena.place();
        assert_eq!(
            placement.offset(a),
            placement.offset(c),
            "a is dead when c begins"
        );
        assert!(placement.offset(b) >= 128);
        assert_eq!(placement.bytes, 192);
    }
}
