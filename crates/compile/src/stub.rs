/// The program in front of an installer's package: `setup`, built for x86-64 Linux, static.
pub fn stub() -> &'static [u8] {
    include_bytes!(concat!(env!("OUT_DIR"), "/setup"))
}
