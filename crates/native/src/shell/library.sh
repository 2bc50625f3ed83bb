LC_ALL=C
export LC_ALL
say() { echo "$name: $*" >&2; }
# Starts the step with this place and mark; says no where it is done already.
begin() {
  for unit in "$state"/*."$2"; do
    [ ! -e "$unit/done" ] || return 1
  done
  unit="$state/$1.$2"
  mkdir -p "$unit" && cat > "$unit/undo" || exit 1
}
end() { : > "$unit/done"; }
# Takes back what an older version did and this one does not.
drop_others() {
  for unit in $(ls -r "$state" 2>/dev/null); do
    [ -f "$state/$unit/undo" ] || continue
    case " $1 " in *" ${unit##*.} "*) ;; *) undo "$state/$unit" drop ;; esac
  done
}
undo_all() {
  for unit in $(ls -r "$state" 2>/dev/null); do
    [ ! -f "$state/$unit/undo" ] || undo "$state/$unit" remove
  done
}
undo() {
  sh "$1/undo" "$1" "$2" || say "a step could not be taken back: $1/undo"
  rm -rf "$1"
}
# Content and times of $1 under the name, owner and mode of $2.
put() {
  cp -p "$2" "$2.$name-new"
  cat "$1" > "$2.$name-new"
  touch -r "$1" "$2.$name-new"
  mv -f "$2.$name-new" "$2"
}
# What the next edit does: operation, `1` for an INI file, section, key, value, line, line before it, `1` for first.
how() {
  OP=$1 INI=$2 SECTION=$3 KEY=$4 VALUE=$5 FOLDER=$5 LINE=$6 AFTER=$7 FIRST=$8
  export OP INI SECTION KEY VALUE FOLDER LINE AFTER FIRST
}
edit() {
  awk "$edit_program" "$1" > "$unit/text" || return $?
  cmp -s "$unit/text" "$1" && return 0
  cp -p "$1" "$1.$name-new"
  cat "$unit/text" > "$1.$name-new"
  mv -f "$1.$name-new" "$1"
}
# Before the first edit of $1: keeps it; $2 says whether a missing one is made.
keep() {
  if [ -e "$unit/before" ] || [ -e "$unit/made" ]; then return 0; fi
  if [ -e "$1" ]; then
    cp -pL "$1" "$unit/before.new" && mv "$unit/before.new" "$unit/before"
  elif [ "$2" = create ]; then
    : > "$unit/made"
    (umask 022 && : > "$1")
  else
    say "there is no $1 to edit"
    return 1
  fi
}
kept() { cp -pL "$1" "$unit/after"; }
# Puts $1 back as it was where nobody else changed it; says no where somebody did.
put_back() {
  if [ ! -e "$1" ]; then return 0; fi
  [ -e "$unit/after" ] && cmp -s "$1" "$unit/after" || return 1
  if [ -e "$unit/made" ]; then rm -f "$1"; elif [ -e "$unit/before" ]; then put "$unit/before" "$1"; fi
}
take_back() {
  [ -e "$unit/before" ] || : > "$unit/before"
  UNDO=1 BEFORE="$unit/before"
  export UNDO BEFORE
  edit "$1" || say "left as others changed it: an edit of $1"
}
# What a path holds, in one line.
sum() {
  { [ -e "$1" ] || [ -h "$1" ]; } || { echo nothing; return 0; }
  tar --sort=name --numeric-owner -c -f - -C / ".$1" 2>/dev/null | cksum
}
save() {
  [ ! -e "$unit/saved.$2" ] || return 0
  if [ -e "$1" ] || [ -h "$1" ]; then cp -a "$1" "$unit/save.$2"; fi
  : > "$unit/saved.$2"
}
saved() { sum "$1" > "$unit/sum.$2"; }
restore() {
  [ -e "$unit/sum.$2" ] && [ "$(sum "$1")" = "$(cat "$unit/sum.$2")" ] || { say "left as others changed it: $1"; return 0; }
  rm -rf "$1"
  if [ -e "$unit/save.$2" ] || [ -h "$unit/save.$2" ]; then cp -a "$unit/save.$2" "$1"; fi
}
# Gives $4 (a path) mode $1, owner $2 and time $3, and keeps what it had.
set_metadata() {
  stat -c '%a %u:%g %Y' "$4" > "$unit/before"
  chown -h "$2" "$4"
  chmod "$1" "$4"
  touch -h -d "@$3" "$4"
  stat -c '%a %u:%g %Y' "$4" > "$unit/after"
}
reset_metadata() {
  [ "$(stat -c '%a %u:%g %Y' "$1" 2>/dev/null)" = "$(cat "$unit/after")" ] || { say "left as others changed it: $1"; return 0; }
  path=$1
  set -- $(cat "$unit/before")
  chown -h "$2" "$path"
  chmod "$1" "$path"
  touch -h -d "@$3" "$path"
}
own() {
  who=$1
  shift
  # What an administrator said of a path stands.
  if dpkg-statoverride --list >/dev/null 2>&1; then overrides=1; else overrides=; fi
  for path; do
    [ -n "$overrides" ] && dpkg-statoverride --list "$path" >/dev/null || chown -h "$who" "$path"
  done
}
is_running() { [ -d /run/systemd/system ]; }
release_of() { (. /etc/os-release 2>/dev/null && eval "printf '%s' \"\${$1}\""); }
free_at() {
  at=$1
  while [ ! -e "$at" ]; do at=${at%/*}; at=${at:-/}; done
  df -P -k "$at" | awk 'NR == 2 { printf "%.0f", $4 * 1024 }'
}
memory() { awk '/^MemTotal:/ { printf "%.0f", $2 * 1024 }' /proc/meminfo; }
