/// The program in front of an installer's package: `setup`, built for x86-64 Linux, static.
pub fn stub() -> &'static [u8] {
    include_bytes!(concat!(env!("OUT_DIR"), "/setup"))
}

/// The same program for x86-64 Windows; `None` where this build was made without it.
pub fn windows_stub() -> Option<&'static [u8]> {
    let stub = include_bytes!(concat!(env!("OUT_DIR"), "/setup.exe"));
    (!stub.is_empty()).then_some(stub)
}
