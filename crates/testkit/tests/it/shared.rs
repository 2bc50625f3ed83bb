//! What several packages have in common stays until the last of them goes.

use model::{EditStep, LineEdit, Template};
use operate::Exit;
use package::Action;
use testkit::{Picture, Sample};

use crate::root::{Root, same};

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
const NAMES: [&str; 3] = ["a", "b", "c"];
const VERSIONS: [&str; 3] = ["1.0", "1.1", "1.5"];

fn library(which: usize) -> Sample {
    let mut sample = Sample::new(NAMES[which], "1");
    let tree = sample.versioned_tree("/usr/lib", Some(VERSIONS[which]));
    sample.file(tree, "libshared.so", format!("library {}", VERSIONS[which]).as_bytes());
    let own = sample.tree(&format!("/opt/{}", NAMES[which]));
    sample.directory(own, "");
    sample.file(own, "program", b"runs with the library");
    sample
}

/// Removes in one order what was installed in another; after each step the highest version still
/// required stands.
fn check_library(install: [usize; 3], remove: [usize; 3], before: Option<&str>) {
    let root = Root::new();
    if let Some(before) = before {
        root.put("usr/lib/libshared.so", before);
    }
    let pristine = root.whole();
    for (count, which) in install.into_iter().enumerate() {
        root.install(&library(which));
        let highest = install[..=count].iter().max().unwrap();
        let wanted = format!("library {}", VERSIONS[*highest]);
        assert_eq!(root.read("usr/lib/libshared.so"), wanted, "{install:?} installed {count}");
    }
    for (count, which) in remove.into_iter().enumerate() {
        root.uninstall_all_of(NAMES[which]);
        match remove[count + 1..].iter().max() {
            Some(highest) => assert_eq!(
                root.read("usr/lib/libshared.so"),
                format!("library {}", VERSIONS[*highest]),
                "{install:?} installed, {remove:?} removed up to {count}"
            ),
            None => same(&pristine, &root.whole()),
        }
        for left in &remove[count + 1..] {
            let report = root.verify(NAMES[*left]);
            assert_eq!(report.result, Exit::Done, "{install:?} {remove:?}: {}", report.lines());
        }
    }
}

#[test]
fn q212854_the_highest_version_still_required_stands_in_every_order() {
    for install in ORDERS {
        for remove in ORDERS {
            check_library(install, remove, None);
        }
    }
}

#[test]
fn q212854_the_last_removal_brings_back_what_was_before_the_first() {
    for remove in ORDERS {
        check_library([0, 1, 2], remove, Some("library of nobody"));
        check_library([2, 0, 1], remove, Some("library of nobody"));
    }
}

#[test]
fn an_older_library_never_takes_the_place_of_a_newer() {
    let root = Root::new();
    root.install(&library(2));
    root.install(&library(0));
    // The newer one goes, the older one stands; one older still does not take its place.
    root.uninstall_all_of("c");
    let mut oldest = Sample::new("d", "1");
    let tree = oldest.versioned_tree("/usr/lib", Some("0.9"));
    oldest.file(tree, "libshared.so", b"library 0.9");
    root.install(&oldest);
    assert_eq!(root.read("usr/lib/libshared.so"), "library 1.0");
    root.uninstall_all_of("a");
    assert_eq!(root.read("usr/lib/libshared.so"), "library 0.9");
    root.uninstall_all_of("d");
    assert!(!root.is_there("usr/lib/libshared.so"));
}

fn section(which: usize) -> Sample {
    let mut sample = Sample::new(NAMES[which], "1");
    let keys = ["path", "level"].map(|key| LineEdit::Ini {
        section: Template::literal(NAMES[which]),
        key: Template::literal(key),
        value: Some(Template::literal(format!("{key} of {}", NAMES[which]))),
    });
    sample.step(Action::Edit(EditStep {
        file: Template::literal("/etc/shared.ini"),
        edits: keys.into(),
        create: true,
    }));
    sample
}

#[test]
fn q257967_a_shared_file_stays_until_its_last_owner_goes() {
    for remove in ORDERS {
        let root = Root::new();
        let pristine = root.whole();
        (0..3).for_each(|which| drop(root.install(&section(which))));
        for (count, which) in remove.into_iter().enumerate() {
            root.uninstall_all_of(NAMES[which]);
            let left = &remove[count + 1..];
            if left.is_empty() {
                break;
            }
            let text = root.read("etc/shared.ini");
            for (other, own) in NAMES.into_iter().enumerate() {
                let whole = format!("[{own}]\npath = path of {own}\nlevel = level of {own}\n");
                let there = text.contains(&whole) || text.contains(&whole.replace(" = ", "="));
                assert_eq!(there, left.contains(&other), "{remove:?} up to {count}: {text:?}");
            }
        }
        same(&pristine, &root.whole());
    }
}

#[test]
fn q257967_what_others_added_to_a_shared_file_keeps_it() {
    let root = Root::new();
    (0..3).for_each(|which| drop(root.install(&section(which))));
    let text = root.read("etc/shared.ini");
    root.put("etc/shared.ini", &format!("{text}\n[administrator]\nown = 1\n"));
    for which in [0, 2, 1] {
        root.uninstall_all_of(NAMES[which]);
    }
    assert_eq!(root.read("etc/shared.ini").trim(), "[administrator]\nown = 1");
}

/// The same package, installed in two orders, leaves no trace.
#[test]
fn folders_of_several_packages_get_their_first_time_back_in_every_order() {
    for remove in ORDERS {
        let root = Root::new();
        let pristine: Picture = root.whole();
        (0..3).for_each(|which| drop(root.install(&library(which))));
        for which in remove {
            root.uninstall_all_of(NAMES[which]);
        }
        same(&pristine, &root.whole());
    }
}

/// The first found its own content there and kept no copy; the second did when it replaced it; the third found the
/// second's. Whoever goes last brings back what was there.
#[test]
fn what_one_found_there_comes_back_when_another_replaced_it() {
    let content = ["as it was\n", "another\n", "another\n"];
    for remove in ORDERS {
        let root = Root::new();
        root.put("opt/there", content[0]);
        let pristine = root.whole();
        for (name, content) in NAMES.into_iter().zip(content) {
            let mut sample = Sample::new(name, "1");
            let tree = sample.tree("/opt");
            sample.file(tree, "there", content.as_bytes());
            drop(root.install(&sample));
        }
        for which in remove {
            root.uninstall_all_of(NAMES[which]);
        }
        same(&pristine, &root.whole());
    }
}
