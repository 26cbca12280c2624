//! Any bytes are outcomes, and what is appended to them is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use recac_orchestrator::{
    core::{End, Fingerprint},
    source::file::outcomes::read,
};

fuzz_target!(|bytes: &[u8]| {
    let (_, before) = read(bytes).expect("reading from memory");
    let mut longer = bytes.to_vec();
    longer.extend(
        b"\n{\"id\":\"last\",\"outcome\":\"stopped\",\"fingerprint\":\"00000000000000ab\"}\n",
    );
    let (told, after) = read(longer.as_slice()).expect("reading from memory");
    assert_eq!(told.last("last"), Some((Fingerprint(0xab), End::Stopped)));
    assert_eq!(before.len(), after.len());
});
