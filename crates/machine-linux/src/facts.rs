//! What is peculiar to the machine a capture runs on.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
};

use capture::{Facts, UserFact};
use model::MachinePath;

/// Collects the facts of the machine we run on and of the root that is captured. What cannot be read is
/// left out: facts only help to find traces of this machine.
pub fn read_facts(root: &Path, host_name: &str) -> Facts {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let of_root = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let uname = rustix::system::uname();
    let machine_ids: BTreeSet<String> = [
        text("/etc/machine-id"),
        of_root("etc/machine-id").trim().to_owned(),
        of_root("var/lib/dbus/machine-id").trim().to_owned(),
    ]
    .into();
    Facts {
        host_name: host_name.to_owned(),
        real_host_name: uname.nodename().to_string_lossy().into_owned(),
        machine_ids: machine_ids.into_iter().filter(|id| id.len() >= 32).collect(),
        addresses: addresses(&text("/proc/net/fib_trie"), &text("/proc/net/if_inet6")),
        hardware_addresses: hardware_addresses(),
        users: users(&of_root("etc/passwd")),
        user: ["SUDO_USER", "LOGNAME", "USER"].iter().find_map(|name| env::var(name).ok()),
        boot_id: text("/proc/sys/kernel/random/boot_id"),
        temporary_folders: temporary_folders(),
        kernel: uname.release().to_string_lossy().into_owned(),
        os_release: os_release(&of_root("etc/os-release")),
    }
}

/// The addresses that are this machine's own: in the kernel's table, the line before `host LOCAL`
/// holds the address; in the other table it is the first column.
fn addresses(fib: &str, inet6: &str) -> Vec<String> {
    let lines: Vec<&str> = fib.lines().collect();
    let four = lines.windows(2).filter(|pair| pair[1].contains("host LOCAL")).filter_map(|pair| {
        let address: std::net::Ipv4Addr = pair[0].trim().strip_prefix("|-- ")?.parse().ok()?;
        (!address.is_loopback()).then(|| address.to_string())
    });
    let six = inet6.lines().filter_map(|line| {
        let number = u128::from_str_radix(line.split_whitespace().next()?, 16).ok()?;
        let address = std::net::Ipv6Addr::from(number);
        (!address.is_loopback()).then(|| address.to_string())
    });
    four.chain(six).collect::<BTreeSet<_>>().into_iter().collect()
}

fn hardware_addresses() -> Vec<String> {
    let Ok(cards) = fs::read_dir("/sys/class/net") else { return Vec::new() };
    let found: BTreeSet<String> = cards
        .flatten()
        .filter_map(|card| fs::read_to_string(card.path().join("address")).ok())
        .map(|address| address.trim().to_owned())
        .filter(|address| !address.is_empty() && address != "00:00:00:00:00:00")
        .collect();
    found.into_iter().collect()
}

fn users(passwd: &str) -> Vec<UserFact> {
    passwd
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            Some(UserFact {
                name: fields.next()?.to_owned(),
                uid: fields.nth(1)?.parse().ok()?,
                gid: fields.next()?.parse().ok()?,
                home: MachinePath::new(fields.nth(1)?).ok()?,
            })
        })
        .collect()
}

fn temporary_folders() -> Vec<MachinePath> {
    let named = ["TMPDIR", "TEMP", "TMP"].iter().filter_map(|name| env::var(name).ok());
    let known = ["/tmp", "/var/tmp"].map(str::to_owned);
    let folders: BTreeSet<MachinePath> =
        known.into_iter().chain(named).filter_map(|path| MachinePath::new(path).ok()).collect();
    folders.into_iter().collect()
}

fn os_release(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{addresses, os_release, users};

    #[test]
    fn own_addresses_are_found_in_the_kernel_tables() {
        let fib = "\
Main:
  +-- 0.0.0.0/0 3 0 5
           |-- 10.0.2.15
              /32 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
           |-- 10.0.2.255
              /32 link BROADCAST
";
        let six = "fe80000000000000505400fffe123456 02 40 20 80 eth0\n";
        assert_eq!(addresses(fib, six), ["10.0.2.15", "fe80::5054:ff:fe12:3456"]);
    }

    #[test]
    fn accounts_and_release_are_read() {
        let users =
            users("root:x:0:0:root:/root:/bin/sh\nada:x:1000:1001:Ada:/home/ada:/bin/sh\nbad\n");
        assert_eq!(users.len(), 2);
        assert_eq!((users[1].uid, users[1].gid), (1000, 1001));
        assert_eq!(users[1].home.to_string(), "/home/ada");
        assert_eq!(
            os_release("ID=debian\nNAME=\"Debian GNU/Linux\"\n")["NAME"],
            "Debian GNU/Linux"
        );
    }
}
