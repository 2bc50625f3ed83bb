//! Packages made by hand, exported in memory.

use std::io::{Cursor, Read as _};

use model::{
    AccountStep, Alternative, EditStep, LineEdit, Meta, Owner, RunStep, ServiceStep, StartType,
    Template, Undo,
};
use native::{ExportError, Exported, Settings, System};
use package::{Action, Node};
use testkit::Sample;

pub(crate) fn template(text: &str) -> Template {
    text.parse().unwrap()
}

/// A package with one of everything an export carries.
pub(crate) fn sample() -> Sample {
    let mut sample = Sample::new("hello", "1.2-3");
    sample.header.architecture = "x86-64".parse().unwrap();
    sample.header.summary = String::from("says hello");
    sample.header.export = Some(Box::new(model::Export {
        maintainer: "Ada Nym <ada@example.org>".to_owned(),
        homepage: "https://example.org".to_owned(),
        license: "MIT".to_owned(),
        section: "net".to_owned(),
        description: "One.\n\nTwo.".to_owned(),
        deb: vec!["libc6 (>= 2.36)".to_owned()],
        rpm: vec!["glibc >= 2.36".to_owned()],
    }));
    sample.variable("prefix", "/opt/hello");
    sample.header.generated = vec![template("${prefix}/**/*.cache")];
    sample.step(Action::Account(AccountStep::User {
        name: "hello".into(),
        system: true,
        id: None,
        group: None,
        home: template("/nonexistent"),
        shell: template("/usr/sbin/nologin"),
        comment: String::new(),
    }));
    let tree = sample.tree("${prefix}");
    sample.node(tree, "", Node::Carrier, Sample::meta(0o755));
    sample.file_with(tree, "hello", b"#!/bin/sh\necho hello\n", Sample::meta(0o755));
    let twin = Node::HardLink { tree, path: b"hello".to_vec() };
    sample.node(tree, "hello-again", twin, Sample::meta(0o755));
    sample.node(tree, "hi", Node::Symlink(template("${prefix}/hello")), Sample::meta(0o777));
    let owned = Meta { owner: Owner::Name("hello".into()), ..Sample::meta(0o4750) };
    sample.file_with(tree, "long/".repeat(30).trim_end_matches('/'), b"far", owned);
    let etc = sample.tree("/etc/hello");
    sample.node(etc, "", Node::Carrier, Sample::meta(0o755));
    sample.file(etc, "hello.conf", b"a = 1\n");
    sample.step(Action::Edit(EditStep {
        file: template("/etc/shells"),
        edits: vec![LineEdit::Add { line: template("${prefix}/hello"), after: None }],
        create: false,
    }));
    sample.step(Action::Alternative(Alternative {
        name: "hello".into(),
        link: template("/usr/bin/hello"),
        path: template("${prefix}/hello"),
        priority: 50,
        followers: vec![],
    }));
    sample.step(Action::Trigger("ldconfig".into()));
    sample.step(Action::Run(RunStep {
        command: vec![template("${prefix}/hello"), template("it's ${machine.hostname}")],
        at: model::Hook::Install,
        undo: Undo::Irreversible,
        limit: 60,
        wait: true,
        exit_codes: std::collections::BTreeMap::default(),
        outputs: vec![],
    }));
    sample.step(Action::Service(ServiceStep {
        unit: "hello.service".into(),
        start: StartType::Automatic,
        now: true,
    }));
    sample
}

pub(crate) fn export(sample: &Sample, system: System) -> Result<(Exported, Vec<u8>), ExportError> {
    let settings = Settings { level: 1, workers: 1 };
    let mut bytes = Vec::new();
    let spool = &mut Cursor::new(Vec::new());
    let exported = match system {
        System::Deb => native::write_deb(&mut sample.open(), spool, &mut bytes, settings)?,
        System::Rpm => native::write_rpm(&mut sample.open(), spool, &mut bytes, settings)?,
    };
    assert_eq!(exported.length, bytes.len() as u64);
    Ok((exported, bytes))
}

/// The files of a member of a .deb: path, kind, mode, owner, target or content.
pub(crate) fn member(deb: &[u8], name: &str) -> Vec<(String, String, Vec<u8>)> {
    let mut archive = ar::Archive::new(deb);
    while let Some(entry) = archive.next_entry() {
        let entry = entry.unwrap();
        if entry.header().identifier() != name.as_bytes() {
            continue;
        }
        let mut tar = tar::Archive::new(liblzma::read::XzDecoder::new(entry));
        let mut files = Vec::new();
        for file in tar.entries().unwrap() {
            let mut file = file.unwrap();
            let mut content = Vec::new();
            file.read_to_end(&mut content).unwrap();
            let header = file.header();
            let kind = format!(
                "{:?} {:o} {} {} {}",
                header.entry_type(),
                header.mode().unwrap(),
                header.username().unwrap().unwrap(),
                header.mtime().unwrap(),
                file.link_name_bytes()
                    .map(|it| String::from_utf8_lossy(&it).into_owned())
                    .unwrap_or_default(),
            );
            files.push((String::from_utf8_lossy(&file.path_bytes()).into_owned(), kind, content));
        }
        return files;
    }
    panic!("no {name}");
}
