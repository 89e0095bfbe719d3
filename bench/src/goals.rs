//! How many times faster than a peer each of ours must be. Imports nothing of this crate.

/// The least ratio that the suites must show in this group, against this peer, with this parameter.
pub fn goal(group: &str, peer: &str, parameter: &str) -> Option<f64> {
    match (group, peer, parameter) {
        ("scan", ..) => Some(2.0),
        ("handshake", ..) => Some(3.0),
        ("accept", _, "1") => Some(1.3),
        ("accept", _, "16") => Some(4.0),
        // No peer changes bytes where they lie faster than memory is copied.
        ("mask", "memcpy", "4096") => Some(0.9),
        ("mask", "memcpy", _) => None,
        ("mask", ..) => Some(1.0),
        (group, "simdutf8", _) if group.starts_with("utf8-") => Some(1.0),
        ("frame", ..) => Some(1.5),
        _ => None,
    }
}
