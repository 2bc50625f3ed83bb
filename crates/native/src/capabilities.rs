//! File capabilities: `linux/capability.h`'s attribute as capabilities(7) writes them.

/// By number.
const NAMES: [&str; 41] = [
    "cap_chown",
    "cap_dac_override",
    "cap_dac_read_search",
    "cap_fowner",
    "cap_fsetid",
    "cap_kill",
    "cap_setgid",
    "cap_setuid",
    "cap_setpcap",
    "cap_linux_immutable",
    "cap_net_bind_service",
    "cap_net_broadcast",
    "cap_net_admin",
    "cap_net_raw",
    "cap_ipc_lock",
    "cap_ipc_owner",
    "cap_sys_module",
    "cap_sys_rawio",
    "cap_sys_chroot",
    "cap_sys_ptrace",
    "cap_sys_pacct",
    "cap_sys_admin",
    "cap_sys_boot",
    "cap_sys_nice",
    "cap_sys_resource",
    "cap_sys_time",
    "cap_sys_tty_config",
    "cap_mknod",
    "cap_lease",
    "cap_audit_write",
    "cap_audit_control",
    "cap_setfcap",
    "cap_mac_override",
    "cap_mac_admin",
    "cap_syslog",
    "cap_wake_alarm",
    "cap_block_suspend",
    "cap_audit_read",
    "cap_perfmon",
    "cap_bpf",
    "cap_checkpoint_restore",
];

/// The attribute that holds them.
pub(crate) const ATTRIBUTE: &[u8] = b"security.capability";

/// The text setcap(8) and rpm take; `None` for what has no text, as a set for another name space.
pub(crate) fn text(attribute: &[u8]) -> Option<String> {
    let word = |at: usize| {
        let bytes = attribute.get(at..at + 4)?;
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    let magic = word(0)?;
    if magic & 0xff00_0000 != 0x0200_0000 || attribute.len() != 20 {
        return None;
    }
    let effective = magic & 1 != 0;
    let set = |low: usize| Some(u64::from(word(low)?) | u64::from(word(low + 8)?) << 32);
    let (permitted, inheritable) = (set(4)?, set(8)?);
    let mut clauses: Vec<(String, Vec<&str>)> = Vec::new();
    for (number, name) in NAMES.iter().enumerate() {
        let bit = 1_u64 << number;
        let (may, inherits) = (permitted & bit != 0, inheritable & bit != 0);
        let mut flags = String::new();
        if effective && (may || inherits) {
            flags.push('e');
        }
        if inherits {
            flags.push('i');
        }
        if may {
            flags.push('p');
        }
        if flags.is_empty() {
            continue;
        }
        match clauses.iter_mut().find(|(known, _)| *known == flags) {
            Some((_, names)) => names.push(name),
            None => clauses.push((flags, vec![name])),
        }
    }
    let known = (1_u64 << NAMES.len()) - 1;
    ((permitted | inheritable) & !known == 0 && !clauses.is_empty()).then(|| {
        let text: Vec<String> =
            clauses.iter().map(|(flags, names)| format!("{}={flags}", names.join(","))).collect();
        text.join(" ")
    })
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn capabilities_have_a_text() {
        let attribute = |magic: u32, permitted: u32, inheritable: u32| {
            [magic, permitted, inheritable, 0, 0].map(u32::to_le_bytes).concat()
        };
        assert_eq!(
            text(&attribute(0x0200_0001, 1 << 10 | 1 << 13, 0)).unwrap(),
            "cap_net_bind_service,cap_net_raw=ep"
        );
        assert_eq!(text(&attribute(0x0200_0000, 1, 2)).unwrap(), "cap_chown=p cap_dac_override=i");
        assert_eq!(text(&attribute(0x0300_0000, 1, 2)), None);
        assert_eq!(text(b"short"), None);
    }
}
