//! Copies that nothing but the alignment of elements asked for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static COPIES: AtomicU64 = AtomicU64::new(0);

/// How often, since the process began, a body or a tensor was copied only because its elements
/// did not lie aligned.
#[must_use]
pub fn alignment_copies() -> u64 {
    COPIES.load(Relaxed)
}

/// Counts such a copy.
pub fn count_alignment_copy() {
    COPIES.fetch_add(1, Relaxed);
}
