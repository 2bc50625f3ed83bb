//! The description in docs/ is that of the program.

#[test]
fn the_description_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let is = serde_json::to_string_pretty(&site::openapi()).unwrap() + "\n";
    if std::env::var_os("PACKHORSE_UPDATE").is_some() {
        std::fs::write(path, &is).unwrap();
    }
    let was = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        is, was,
        "PACKHORSE_UPDATE=1 cargo test -p site openapi writes docs/openapi.json anew"
    );
}
