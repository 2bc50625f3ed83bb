//! What is made anew from what is installed, and which paths that changes.

use model::MachinePath;

/// A known trigger.
pub(crate) struct Trigger {
    /// Its name in scripts.
    pub(crate) name: &'static str,
    /// The program and its arguments.
    pub(crate) command: &'static [&'static str],
    /// What it writes.
    pub(crate) outputs: &'static [&'static str],
    /// Whether it speaks to the running system, so that it means nothing on a mere root folder.
    pub(crate) live: bool,
}

const ACCOUNTS: &[&str] = &[
    "/etc/passwd",
    "/etc/passwd-",
    "/etc/group",
    "/etc/group-",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/.pwd.lock",
];

/// Every trigger a script can name.
pub(crate) const TRIGGERS: &[Trigger] = &[
    Trigger { name: "sysusers", command: &["systemd-sysusers"], outputs: ACCOUNTS, live: false },
    Trigger { name: "depmod", command: &["depmod", "-a"], outputs: &[], live: true },
    Trigger {
        name: "dbus-reload",
        command: &["systemctl", "reload", "dbus.service"],
        outputs: &[],
        live: true,
    },
    Trigger {
        name: "info-dir",
        command: &["update-info-dir"],
        outputs: &["/usr/share/info/dir"],
        live: false,
    },
    Trigger {
        name: "ldconfig",
        command: &["ldconfig"],
        outputs: &["/etc/ld.so.cache", "/var/cache/ldconfig/aux-cache"],
        live: false,
    },
    Trigger {
        name: "ca-certificates",
        command: &["update-ca-certificates"],
        outputs: &["/etc/ssl/certs"],
        live: false,
    },
    Trigger { name: "mandb", command: &["mandb", "-q"], outputs: &["/var/cache/man"], live: false },
    Trigger {
        name: "desktop-database",
        command: &["update-desktop-database", "-q"],
        outputs: &["/usr/share/applications/mimeinfo.cache"],
        live: false,
    },
    Trigger {
        name: "mime-database",
        command: &["update-mime-database", "/usr/share/mime"],
        outputs: &["/usr/share/mime"],
        live: false,
    },
    Trigger {
        name: "icon-cache",
        command: &["gtk-update-icon-cache", "-q", "-t", "-f", "/usr/share/icons/hicolor"],
        outputs: &["/usr/share/icons/hicolor/icon-theme.cache"],
        live: false,
    },
    Trigger {
        name: "glib-schemas",
        command: &["glib-compile-schemas", "/usr/share/glib-2.0/schemas"],
        outputs: &["/usr/share/glib-2.0/schemas/gschemas.compiled"],
        live: false,
    },
    Trigger {
        name: "fontconfig",
        command: &["fc-cache", "-s"],
        outputs: &["/var/cache/fontconfig"],
        live: false,
    },
    Trigger {
        name: "systemd-reload",
        command: &["systemctl", "daemon-reload"],
        outputs: &[],
        live: true,
    },
    Trigger {
        name: "sysctl",
        command: &["sysctl", "--quiet", "--system"],
        outputs: &[],
        live: true,
    },
    Trigger {
        name: "tmpfiles",
        command: &["systemd-tmpfiles", "--create"],
        outputs: &[],
        live: true,
    },
    Trigger {
        name: "udev",
        command: &["udevadm", "control", "--reload"],
        outputs: &[],
        live: true,
    },
];

impl Trigger {
    /// The trigger of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        TRIGGERS.iter().find(|trigger| trigger.name == name)
    }

    /// The program and its arguments as bytes.
    pub(crate) fn request(&self) -> change::CommandRequest {
        let command = self.command.iter().map(|word| word.as_bytes().to_vec()).collect();
        change::CommandRequest { command, limit: 600, wait: true }
    }

    /// What it writes, as paths.
    pub(crate) fn output_paths(&self) -> Vec<MachinePath> {
        self.outputs.iter().filter_map(|output| MachinePath::new(output).ok()).collect()
    }
}
