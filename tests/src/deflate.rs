//! Compressed payloads (RFC 7692 §7.2.1), made by miniz_oxide, which the server does not use.

use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::{DataFormat, MZFlush};

/// Compresses message after message; each may refer to those before it.
pub struct Deflater(Box<CompressorOxide>);

impl Default for Deflater {
    fn default() -> Self {
        let raw = DataFormat::Raw.to_window_bits();
        Self(Box::new(CompressorOxide::new(create_comp_flags_from_zip_params(6, raw, 0))))
    }
}

impl Deflater {
    /// One message's payload: flushed to a byte, without the four bytes every flush ends in.
    pub fn message(&mut self, message: &[u8]) -> Vec<u8> {
        let mut payload = vec![0; message.len() + message.len() / 8 + 64];
        let result = deflate(&mut self.0, message, &mut payload, MZFlush::Sync);
        assert_eq!(result.bytes_consumed, message.len(), "the payload has room for what does not compress");
        payload.truncate(result.bytes_written);
        assert_eq!(payload.split_off(payload.len() - 4), [0x00, 0x00, 0xFF, 0xFF]);
        payload
    }
}
