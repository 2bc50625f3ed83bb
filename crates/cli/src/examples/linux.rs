//! As a shell on Linux takes them.

pub(crate) const ALL: &str = "Examples:
  packhorse tour
  packhorse capture run -o redis -- make -C redis-7 install
  packhorse compile redis -o redis.run
  packhorse install redis.run
  packhorse uninstall redis

Every command has examples of its own: packhorse COMMAND --help";
pub(crate) const CAPTURE: &str =
    "Example:\n  packhorse capture run -o redis -- ./redis-installer.run --unattended";
pub(crate) const RUN: &str = "Examples:
  packhorse capture run -o redis -- ./redis-installer.run
  packhorse capture run --root /srv/reference -o nginx -- apt-get install -y nginx";
pub(crate) const BEGIN: &str = "Examples:
  packhorse capture begin --session /var/tmp/capture
  packhorse capture begin --wine ~/.wine-reference --session /var/tmp/capture
  packhorse capture begin --image /mnt/windows --user packager --session /var/tmp/capture";
pub(crate) const FINISH: &str =
    "Example:\n  packhorse capture finish --session /var/tmp/capture -o redis";
pub(crate) const DISCARD: &str = "Example:\n  packhorse capture discard --session /var/tmp/capture";
