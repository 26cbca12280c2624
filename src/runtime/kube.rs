//! Runs as Jobs of Kubernetes.

pub mod manifest;
pub mod state;
pub mod template;
