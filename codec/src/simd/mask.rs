//! Masking in blocks, once for all backends. Blocks never overlap, so that who reads the payload next finds each in one piece in the CPU's store
//! buffer.

/// Payloads from this length on are masked from a vector's boundary: it saves more in the stores than finding it costs.
const ALIGNED_BYTES: usize = 1024;

/// Masks what is too short for a call through the table.
#[inline(always)]
pub(crate) fn short(payload: &mut [u8], key: [u8; 4]) {
    let wide = u128::from(u32::from_ne_bytes(key)) * (u128::MAX / 0xffff_ffff);
    // Two blocks a turn, by hand: left to itself the compiler makes it four, with a second loop before them for what is more than that.
    let (pairs, rest) = payload.as_chunks_mut::<32>();
    for pair in pairs {
        let (blocks, _) = pair.as_chunks_mut();
        for block in blocks {
            *block = (u128::from_ne_bytes(*block) ^ wide).to_ne_bytes();
        }
    }
    let rest = match rest.split_first_chunk_mut() {
        Some((block, rest)) => {
            *block = (u128::from_ne_bytes(*block) ^ wide).to_ne_bytes();
            rest
        }
        None => rest,
    };
    let rest = match rest.split_first_chunk_mut() {
        Some((block, rest)) => {
            *block = (u64::from_ne_bytes(*block) ^ wide as u64).to_ne_bytes();
            rest
        }
        None => rest,
    };
    let rest = match rest.split_first_chunk_mut() {
        Some((block, rest)) => {
            *block = (u32::from_ne_bytes(*block) ^ wide as u32).to_ne_bytes();
            rest
        }
        None => rest,
    };
    // Fewer than four: written out, as a loop would be made into vectors that never run.
    if let [first, rest @ ..] = rest {
        *first ^= key[0];
        if let [second, rest @ ..] = rest {
            *second ^= key[1];
            if let [third, ..] = rest {
                *third ^= key[2];
            }
        }
    }
}

/// Masks a payload with vectors of `N` bytes, which `xor` does for one.
#[inline(always)]
pub(super) fn vectors<const N: usize>(payload: &mut [u8], key: [u8; 4], xor: impl Fn(&mut [u8; N], [u8; 4])) {
    let boundary = payload.as_ptr().align_offset(N);
    let (payload, key) = if payload.len() < ALIGNED_BYTES || boundary == 0 { (payload, key) } else { after(payload, key, boundary) };
    let (blocks, tail) = payload.as_chunks_mut();
    for block in blocks {
        xor(block, key);
    }
    // One look instead of the five that find nothing to do: a payload of whole vectors is no rarity.
    if !tail.is_empty() {
        short(tail, key);
    }
}

/// Masks what lies before a boundary, and gives the rest and its key. It is not in line, as the registers that it needs would be saved for
/// shorter payloads as well.
#[inline(never)]
fn after(payload: &mut [u8], key: [u8; 4], boundary: usize) -> (&mut [u8], [u8; 4]) {
    let (head, rest) = payload.split_at_mut(boundary.min(payload.len()));
    short(head, key);
    (rest, rotate(key, boundary))
}

/// The key for the rest of a payload, of which `done` bytes are masked already.
#[inline(always)]
pub(crate) fn rotate(key: [u8; 4], done: usize) -> [u8; 4] {
    u32::from_le_bytes(key).rotate_right(done as u32 % 4 * 8).to_le_bytes()
}
