//! Triggers: what is made anew from what is installed, once each, after everything else.

/// Every trigger a capture may ask for, in the order they run.
pub const ORDER: [&str; 16] = [
    "ldconfig",
    "sysctl",
    "tmpfiles",
    "kernel-modules",
    "initramfs",
    "udev",
    "ca-certificates",
    "locales",
    "glib-schemas",
    "mime-database",
    "desktop-database",
    "icon-cache",
    "fontconfig",
    "info-directory",
    "mandb",
    "systemd-reload",
];

/// Whether there is a trigger of this name.
pub fn is_known(name: &str) -> bool {
    ORDER.contains(&name)
}
