use std::{fs, path::Path};

/// A folder or key of a script means one place, since there is one program in front of installers, of one architecture;
/// and each such variable says which place that is (Q235204).
#[test]
fn q235204_folders_mean_one_place_whoever_installs() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/formats/script.md");
    let text = fs::read_to_string(document).unwrap();
    let (_, folders) = text.split_once("2.9 ").unwrap();
    let (folders, _) = folders.split_once("## 3").unwrap();
    let is_folder = |name: &&str| !name.contains('.');
    for name in script::vocabulary::BUILT_IN_VARIABLES.iter().copied().filter(is_folder) {
        assert!(folders.contains(&format!("`{name}`")), "`{name}` does not say which folder it is");
    }
    // Where the Windows program was not built it cannot be embedded, and no installer be made.
    let Some(stub) = compile::windows_stub() else { return };
    let at = u32::from_le_bytes(stub[60..64].try_into().unwrap()) as usize;
    assert_eq!(stub[at..at + 6], *b"PE\0\0\x64\x86", "it is for x86-64");
}
