//! The whole server in this process, on real ports of loopback: what operators and readers see of it.

#[cfg(test)]
mod server {
    mod access;
    mod audiences;
    mod commands;
    mod configuration;
    mod consent;
    mod damage;
    mod definitions_files;
    mod delivery;
    mod directory;
    mod doctor;
    mod erasure;
    mod far_back;
    mod feed;
    mod golden;
    mod http_requests;
    mod ingest;
    mod lifecycle;
    mod operating;
    mod page;
    mod platforms;
    mod quarantine;
    pub(crate) mod support;
}
