use std::io::Cursor;

use model::{RegistryKey, Version};

use super::{Listing, Maker, Msi, Wrapping, wrap};
use crate::Registry;

fn maker(bytes: &[u8]) -> Option<Maker> {
    Maker::of(&mut Cursor::new(bytes)).unwrap()
}

#[test]
fn makers_are_told_by_their_bytes() {
    let program = |at: usize, sign: &[u8]| {
        let mut bytes = vec![0; 4096];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[at..at + sign.len()].copy_from_slice(sign);
        bytes
    };
    let nsis = b"\xef\xbe\xad\xdeNullsoftInst";
    assert_eq!(maker(&program(1024 + 4, nsis)), Some(Maker::Nsis));
    assert_eq!(maker(&program(1000, nsis)), None);
    assert_eq!(maker(&program(99, b"Inno Setup Setup Data (6.2.0)")), Some(Maker::Inno));
    assert_eq!(maker(&program(99, b"ISSetupStream")), Some(Maker::InstallShield));
    assert_eq!(maker(b"MZ"), None);
    assert_eq!(maker(b"#!/bin/sh Inno Setup Setup Data ("), None);
    assert_eq!(maker(&[0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1, 1, 2]), None);
    let mut burn = program(0x200, b".wixburn");
    burn[0x200 + 20..0x200 + 24].copy_from_slice(&0x400_u32.to_le_bytes());
    burn[0x400..0x404].copy_from_slice(&[0, 0x43, 0xf1, 0]);
    burn[0x408..0x418].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    let id = "{04030201-0605-0807-090a-0b0c0d0e0f10}".to_owned();
    assert_eq!(maker(&burn), Some(Maker::Burn(id)));
}

fn wrapped(maker: Maker, listing: Listing) -> String {
    let wrapping = Wrapping {
        name: "app".parse().unwrap(),
        version: Version::new("2.5"),
        file: "setup.bin".to_owned(),
        maker,
        listing,
    };
    let (script, comments) = wrap(&wrapping).unwrap();
    let text = script::print_with_comments(&script, &comments);
    assert_eq!(script::parse(&text).unwrap(), script, "{text}");
    text
}

#[test]
fn an_msi_is_found_by_its_product_code() {
    let code = "{11111111-2222-3333-4444-555555555555}";
    let msi = Msi { product_code: code.to_owned(), is_64: true, ..Msi::default() };
    let listing = Listing::of_product(code, true, "The App", "2.5.0").unwrap();
    let text = wrapped(Maker::Msi(msi), listing);
    for said in
        [r"'/x'", code, r"${system}\msiexec.exe", "1618 = \"retry\"", "DisplayVersion", "x86-64"]
    {
        assert!(text.contains(said) || text.contains(&said.replace('\'', "\"")), "{said}: {text}");
    }
}

#[test]
fn an_nsis_uninstaller_is_waited_for() {
    let mut after = Registry::default();
    after
        .read(
            "HKLM",
            "WINE REGISTRY Version 2\n[Software\\\\Microsoft\\\\Windows\\\\CurrentVersion\\\\Uninstall\\\\App]\n\
             \"DisplayName\"=\"The App\"\n\"UninstallString\"=\"C:\\\\Program Files\\\\The App\\\\un.exe\"\n",
        )
        .unwrap();
    let made = Listing::made(&Registry::default(), &after);
    assert_eq!(made.len(), 1);
    assert!(Listing::made(&after, &after).is_empty());
    let text = wrapped(Maker::Nsis, made[0].clone());
    assert!(text.contains(r"${program-files}\The App\un.exe"), "{text}");
    assert!(text.contains(r"_?=${program-files}\The App"), "{text}");
    assert!(text.contains("DisplayName"), "{text}");
}

#[test]
fn what_nobody_can_take_off_is_not_wrapped() {
    let key =
        RegistryKey::new(r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\X").unwrap();
    let listing = Listing::named(key.as_str(), "", "").unwrap();
    let wrapping = Wrapping {
        name: "app".parse().unwrap(),
        version: Version::new("1"),
        file: "setup.exe".to_owned(),
        maker: Maker::Inno,
        listing,
    };
    assert!(wrap(&wrapping).is_err());
    assert_eq!(Listing::named(r"HKLM\SOFTWARE\X", "", ""), None);
}
