//! The format of zlib, without compression.

/// Returns bytes in the format of zlib (RFC 1950), in stored blocks.
pub fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut stored = vec![0x78, 0x01];
    let mut chunks = bytes.chunks(65_535).peekable();
    while let Some(chunk) = chunks.next() {
        let length = u16::try_from(chunk.len()).unwrap();
        stored.push(u8::from(chunks.peek().is_none()));
        stored.extend(length.to_le_bytes());
        stored.extend((!length).to_le_bytes());
        stored.extend(chunk);
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    stored.extend((b << 16 | a).to_be_bytes());
    stored
}
