/// The program in front of an installer's package.
pub fn stub() -> &'static [u8] {
    b""
}
