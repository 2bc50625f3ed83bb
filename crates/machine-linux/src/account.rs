//! Accounts of this machine, and programs that run on them.

use std::{
    ffi::CString,
    fs, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use nix::unistd::{User, getgrouplist};
use rustix::{
    process::{Gid, Uid},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

/// An account, as the machine's name services have it: files, a directory, whatever nsswitch.conf(5) says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its number.
    pub number: u32,
    /// Its first group.
    pub group: u32,
    /// All its groups.
    pub groups: Vec<u32>,
    /// Its home folder.
    pub home: PathBuf,
    /// Its shell.
    pub shell: PathBuf,
}

impl Account {
    /// The account of this name on the machine with this root; `None` where there is none. Of a machine that is a folder only its
    /// files are asked.
    ///
    /// # Errors
    /// A name service does not answer; the files cannot be read.
    pub fn named(root: &Path, name: &str) -> io::Result<Option<Self>> {
        if root == Path::new("/") {
            return Self::of_services(name);
        }
        let users = fs::read_to_string(root.join("etc/passwd"))?;
        let groups = fs::read_to_string(root.join("etc/group")).unwrap_or_default();
        Ok(Self::of_files(&users, &groups, name))
    }

    /// As passwd(5) and group(5) say.
    fn of_files(users: &str, groups: &str, name: &str) -> Option<Self> {
        let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let own = fields.into_iter().find(|fields| fields.first() == Some(&name))?;
        let [_, _, number, group, _, home, shell] = own[..] else { return None };
        let group = group.parse().ok()?;
        let mut all = vec![group];
        for line in groups.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let [_, _, number, members] = fields[..] else { continue };
            if members.split(',').any(|member| member == name) {
                all.extend(number.parse().ok().filter(|one: &u32| *one != group));
            }
        }
        Some(Self {
            name: name.to_owned(),
            number: number.parse().ok()?,
            group,
            groups: all,
            home: home.into(),
            shell: shell.into(),
        })
    }

    fn of_services(name: &str) -> io::Result<Option<Self>> {
        let Some(user) = User::from_name(name)? else { return Ok(None) };
        let text = CString::new(name).map_err(io::Error::other)?;
        let groups = getgrouplist(&text, user.gid)?;
        Ok(Some(Self {
            name: user.name,
            number: user.uid.as_raw(),
            group: user.gid.as_raw(),
            groups: groups.into_iter().map(nix::unistd::Gid::as_raw).collect(),
            home: user.dir,
            shell: user.shell,
        }))
    }
}

/// Has a program begin as another user, with these groups and no others, in `folder`.
#[expect(
    unsafe_code,
    reason = "std sets no groups, and looks for the folder while it still is the superuser"
)]
pub fn become_user(command: &mut Command, number: u32, group: u32, groups: &[u32], folder: &Path) {
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    let (number, group) = (Uid::from_raw(number), Gid::from_raw(group));
    let folder = folder.to_owned();
    // SAFETY: between fork and exec there is one thread, and only system calls are made; nothing allocates, locks or panics.
    unsafe {
        command.pre_exec(move || {
            set_thread_groups(&groups)?;
            set_thread_res_gid(group, group, group)?;
            set_thread_res_uid(number, number, number)?;
            // A home that is not there is no reason not to run.
            if rustix::process::chdir(&folder).is_err() {
                rustix::process::chdir("/")?;
            }
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_superuser_has_an_account_and_nobody_else_has_this_name() {
        let root = Account::named(Path::new("/"), "root").unwrap().unwrap();
        assert_eq!((root.number, root.group), (0, 0));
        assert!(root.groups.contains(&0));
        assert_eq!(Account::named(Path::new("/"), "nobody-has-this-name").unwrap(), None);
    }

    #[test]
    fn a_folder_has_the_accounts_of_its_files() {
        let users = "root:x:0:0:root:/root:/bin/sh\nanna:x:1234:1235:Anna,,,:/home/anna:/bin/bash\nbroken:x:1\n";
        let groups = "anna:x:1235:\nstaff:x:50:otto,anna\nwheel:x:10:hanna\n";
        let anna = Account::of_files(users, groups, "anna").unwrap();
        assert_eq!((anna.number, anna.group, anna.groups), (1234, 1235, vec![1235, 50]));
        assert_eq!(anna.home, Path::new("/home/anna"));
        assert_eq!(Account::of_files(users, groups, "broken"), None);
        assert_eq!(Account::of_files(users, groups, "hanna"), None);
    }

    #[test]
    fn a_program_runs_as_somebody_else_with_no_rights_of_ours() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let nobody = Account::named(Path::new("/"), "nobody").unwrap().unwrap();
        let mut command = Command::new("/usr/bin/id");
        become_user(&mut command, nobody.number, nobody.group, &nobody.groups, &nobody.home);
        let said = command.output().unwrap();
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(text.starts_with(&format!("uid={}(nobody)", nobody.number)), "{text}");
        assert!(!text.contains("(root)"), "{text}");
    }
}
