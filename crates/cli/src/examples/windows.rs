//! As a console on Windows takes them.

pub(crate) const ALL: &str = r"Examples:
  packhorse capture run -o redis -- redis-setup.exe /S
  packhorse compile redis -o redis-setup.exe
  packhorse install redis-setup.exe
  packhorse uninstall redis

Every command has examples of its own: packhorse COMMAND --help";
pub(crate) const CAPTURE: &str = "Example:\n  packhorse capture run -o redis -- redis-setup.exe /S";
pub(crate) const RUN: &str = r"Examples:
  packhorse capture run -o redis -- redis-setup.exe /S
  packhorse capture run -o redis -- msiexec /i redis.msi /qn";
pub(crate) const BEGIN: &str = r"Examples:
  packhorse capture begin --session D:\capture
  packhorse capture begin --root D:\ --session C:\capture";
pub(crate) const FINISH: &str = r"Example:
  packhorse capture finish --session D:\capture -o redis";
pub(crate) const DISCARD: &str = r"Example:
  packhorse capture discard --session D:\capture";
