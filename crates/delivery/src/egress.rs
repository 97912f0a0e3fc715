//! The egress client.
