//! What an apt repository says of its files: `Packages` and `Release`.

/// A .deb as `Packages` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deb {
    /// Its control file, as it stands in it.
    pub control: String,
    /// `Package`.
    pub name: String,
    /// `Version`.
    pub version: String,
    /// `Architecture`.
    pub architecture: String,
}

/// A file as an index lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its path in the repository.
    pub path: String,
    /// Bytes.
    pub length: u64,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
}

/// `Packages` for one architecture: its own packages and those for all, by name and version.
pub fn apt_index<'a>(
    packages: impl IntoIterator<Item = (&'a Deb, &'a Listed)>,
    architecture: &str,
) -> String {
    let mut fitting: Vec<_> = packages
        .into_iter()
        .filter(|(deb, _)| deb.architecture == architecture || deb.architecture == "all")
        .collect();
    fitting
        .sort_by_key(|(deb, listed)| (&deb.name, model::Version::new(&*deb.version), &listed.path));
    let mut text = String::new();
    for (deb, listed) in fitting {
        text.push_str(deb.control.trim_end());
        let Listed { path, length, sha256 } = listed;
        text.push_str(&format!("\nFilename: {path}\nSize: {length}\nSHA256: {sha256}\n\n"));
    }
    text
}

/// `Release` over the indexes, whose paths start at the suite's folder; `time` in seconds since 1970.
pub fn apt_release(suite: &str, architectures: &[&str], indexes: &[Listed], time: i64) -> String {
    let date = jiff::Timestamp::from_second(time)
        .map(|time| time.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string())
        .unwrap_or_default();
    let mut text = format!(
        "Origin: Packhorse\nLabel: Packhorse\nSuite: {suite}\nCodename: {suite}\nDate: {date}\n\
         Architectures: {}\nComponents: main\nAcquire-By-Hash: yes\n\
         No-Support-for-Architecture-all: Packages\nSHA256:\n",
        architectures.join(" ")
    );
    for Listed { path, length, sha256 } in indexes {
        text.push_str(&format!(" {sha256} {length:>12} {path}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Deb, Listed, apt_index, apt_release};

    #[test]
    fn indexes_are_by_name_and_version() {
        let deb = |version: &str, architecture: &str| Deb {
            control: format!("Package: x\nVersion: {version}\nArchitecture: {architecture}\n"),
            name: "x".to_owned(),
            version: version.to_owned(),
            architecture: architecture.to_owned(),
        };
        let listed = Listed { path: "pool/x.deb".to_owned(), length: 5, sha256: "ab".to_owned() };
        let all = [deb("1.10", "amd64"), deb("1.9", "all"), deb("1.9", "arm64")];
        let index = apt_index(all.iter().map(|deb| (deb, &listed)), "amd64");
        insta::assert_snapshot!(index, @"
        Package: x
        Version: 1.9
        Architecture: all
        Filename: pool/x.deb
        Size: 5
        SHA256: ab

        Package: x
        Version: 1.10
        Architecture: amd64
        Filename: pool/x.deb
        Size: 5
        SHA256: ab
        ");
        insta::assert_snapshot!(apt_release("stable", &["amd64"], &[listed], 1_700_000_000), @"
        Origin: Packhorse
        Label: Packhorse
        Suite: stable
        Codename: stable
        Date: Tue, 14 Nov 2023 22:13:20 UTC
        Architectures: amd64
        Components: main
        Acquire-By-Hash: yes
        No-Support-for-Architecture-all: Packages
        SHA256:
         ab            5 pool/x.deb
        ");
    }
}
