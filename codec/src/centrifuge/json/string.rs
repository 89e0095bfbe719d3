//! Strings of JSON. Imports nothing.

/// Appends text as a JSON string.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, behind) = rest.split_at(plain_bytes(rest));
        out.extend_from_slice(plain);
        let Some((&byte, behind)) = behind.split_first() else { break };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble & 0xf)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)]);
            }
        }
        rest = behind;
    }
    out.push(b'"');
}

/// How many bytes at the start stand for themselves in a string.
pub(super) fn plain_bytes(text: &[u8]) -> usize {
    const LANES: u64 = u64::MAX / 0xff;
    let (blocks, tail) = text.as_chunks();
    for (place, block) in blocks.iter().enumerate() {
        // Eight bytes at once. A lane's top bit is set where the byte is below the subtrahend, or where a borrow from a special byte below it
        // says so wrongly: the lowest one is right.
        let block = u64::from_le_bytes(*block);
        let below = |lanes: u64, bound: u8| lanes.wrapping_sub(LANES * u64::from(bound)) & !lanes;
        let equal = |byte: u8| below(block ^ (LANES * u64::from(byte)), 1);
        let special = (below(block, b' ') | equal(b'"') | equal(b'\\')) & (LANES << 7);
        if special != 0 {
            return 8 * place + special.trailing_zeros() as usize / 8;
        }
    }
    let plain = tail.iter().take_while(|byte| !matches!(byte, 0..b' ' | b'"' | b'\\'));
    8 * blocks.len() + plain.count()
}
