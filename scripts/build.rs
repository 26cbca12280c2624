//! What the static binary does without, so that it stays small.
#![allow(
    clippy::disallowed_methods,
    reason = "the environment is how Cargo speaks to this"
)]

use std::env::{var, var_os};

fn main() {
    println!("cargo::rerun-if-changed=scripts/no-unwind.ld");
    let is = |name: &str, value: &str| var(name).is_ok_and(|v| v == value);
    let is_static = is("CARGO_CFG_TARGET_ENV", "musl") && is("CARGO_CFG_TARGET_ARCH", "x86_64");
    if !is_static || !is("PROFILE", "release") {
        return;
    }
    let Some(dir) = var_os("CARGO_MANIFEST_DIR") else {
        return;
    };
    let script = std::path::Path::new(&dir).join("scripts/no-unwind.ld");
    // Relocations in the short form, which musl reads since 1.2.4.
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
}
