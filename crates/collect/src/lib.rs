//! Placeholder front page, replaced when the crate is written.
