# One change to a text file others change too; reads the file, writes what it becomes.
# ENVIRON: OP add remove set unset path; UNDO 1 takes it back, with the older text in BEFORE.
# Exit 3: others changed what is ours, so it stays.
function trim(s) { sub(/^[ \t]+/, "", s); sub(/[ \t]+$/, "", s); return s }
function blank(s) { return s ~ /^[ \t]*$/ }
function head(s) {
  s = trim(s)
  return s ~ /^\[.*\]$/ ? trim(substr(s, 2, length(s) - 2)) : "\n"
}
# Reads `key = value`: pk the key, pv the value, ph and pt what stands around the value, ps whether a blank precedes `=`.
function pair(s,    t, at, key) {
  match(s, /^[ \t]*/); ph = substr(s, 1, RLENGTH); t = substr(s, RLENGTH + 1)
  if (t == "" || t ~ /^[#;\[]/) return 0
  if (!ini && t ~ /^export[ \t]/) {
    match(t, /^export[ \t]+/); ph = ph substr(t, 1, RLENGTH); t = substr(t, RLENGTH + 1)
  }
  at = index(t, "=")
  if (!at) return 0
  key = substr(t, 1, at - 1); t = substr(t, at + 1)
  match(t, /^[ \t]*/); ph = ph key "=" substr(t, 1, RLENGTH); t = substr(t, RLENGTH + 1)
  pk = key; sub(/[ \t]+$/, "", pk); ps = pk != key
  pv = t; sub(/[ \t]+$/, "", pv); pt = substr(t, length(pv) + 1)
  return pk != ""
}
# Positions of the lines with our key go to `found`; gives how many.
function find(text, size,    i, name, count) {
  name = ""; count = 0
  for (i = 1; i <= size; i++) {
    if (ini && head(text[i]) != "\n") { name = head(text[i]); continue }
    if (ini && name != section) continue
    if (pair(text[i]) && pk == key) found[++count] = i
  }
  return count
}
function has_section(text, size,    i) {
  if (section == "") return 1
  for (i = 1; i <= size; i++) if (head(text[i]) == section) return 1
  return 0
}
function insert(at, s,    i) {
  for (i = n; i >= at; i--) line[i + 1] = line[i]
  line[at] = s; n++
}
function drop(at,    i) {
  for (i = at; i < n; i++) line[i] = line[i + 1]
  n--
}
# Where the block stands in a text, or 0.
function block_at(text, size,    i, j) {
  for (i = 1; i + blocks - 1 <= size; i++) {
    for (j = 1; j <= blocks && text[i + j - 1] == block[j]; j++);
    if (j > blocks) return i
  }
  return 0
}
# Puts back a line that stood at `at` of the older text.
function put_back(at,    i, best, far) {
  best = at > n + 1 ? n + 1 : at
  if (at == 1) best = 1
  else {
    far = -1
    for (i = 1; i <= n; i++) if (line[i] == old[at - 1]) {
      d = i + 1 > at ? i + 1 - at : at - i - 1
      if (far < 0 || d < far) { far = d; best = i + 1 }
    }
  }
  insert(best, old[at])
}
function put(value,    count, i, at, eq, start, stop) {
  count = find(line, n)
  if (count) { at = found[count]; pair(line[at]); if (pv != value) line[at] = ph value pt; return }
  eq = ini ? " = " : "="
  for (i = 1; i <= n; i++) if (pair(line[i])) { eq = ps ? " = " : "="; break }
  if (!ini) { insert(n + 1, key eq value); return }
  if (!has_section(line, n)) {
    if (n && !blank(line[n])) insert(n + 1, "")
    insert(n + 1, "[" section "]"); insert(n + 1, key eq value); return
  }
  start = 0
  if (section != "") for (i = 1; i <= n; i++) if (head(line[i]) == section) { start = i; break }
  for (stop = start + 1; stop <= n && head(line[stop]) == "\n"; stop++);
  for (; stop > start + 1 && blank(line[stop - 1]); stop--);
  insert(stop, key eq value)
}
# Splits a list value: lf what stands before the list, lb behind it; its folders go to `item`, gives how many.
function list(value,    quote, body, at) {
  quote = substr(value, 1, 1); lf = ""; lb = ""; body = value
  if (quote == "\"" || quote == "'") {
    lf = quote; body = substr(value, 2); at = index(body, quote)
  } else at = index(body, ";")
  if (at) { lb = substr(body, at); body = substr(body, 1, at - 1) }
  match(body, /[ \t]*$/); lb = substr(body, RSTART) lb; body = substr(body, 1, RSTART - 1)
  items = body
  return split(body, item, ":")
}
function bare(s) { while (length(s) > 1 && s ~ /\/$/) s = substr(s, 1, length(s) - 1); return s }
function listed(value,    count, i) {
  count = list(value)
  for (i = 1; i <= count; i++) if (bare(item[i]) == bare(folder)) return i
  return 0
}
function add_folder(    count, at, joined) {
  count = find(line, n)
  if (!count) { put(folder); return }
  at = found[count]; pair(line[at])
  if (listed(pv)) return
  joined = items == "" ? folder : first ? folder ":" items : items ":" folder
  put(lf joined lb)
}
function take_folder(    count, at, i, ours, joined, few, was) {
  was = find(old, olds)
  count = find(line, n)
  if (!count) exit 3
  at = found[count]; pair(line[at]); count = list(pv)
  ours = 0
  for (i = 1; i <= count && !ours; i++) if (item[i] == folder) ours = i
  if (!ours) exit 3
  joined = ""; few = 0
  for (i = 1; i <= count; i++) if (i != ours) joined = joined (few++ ? ":" : "") item[i]
  if (!few && !was) { drop(at); return }
  put(lf joined lb)
}
function apply(    count, at, i) {
  if (op == "add") {
    if (block_at(line, n)) return
    at = n + 1
    if (after != "") for (i = 1; i <= n; i++) if (line[i] == after) { at = i + 1; break }
    for (i = 1; i <= blocks; i++) insert(at + i - 1, block[i])
  } else if (op == "remove") {
    for (i = n; i; i--) if (line[i] == block[1]) drop(i)
  } else if (op == "unset") {
    for (count = find(line, n); count; count--) drop(found[count])
  } else if (op == "path") add_folder()
  else put(value)
}
function take_back(    count, at, i, start, stop) {
  if (op == "add") {
    at = block_at(line, n)
    if (!at) exit 3
    for (i = 1; i <= blocks; i++) drop(at)
  } else if (op == "remove") {
    for (i = 1; i <= n; i++) if (line[i] == block[1]) exit 3
    for (i = 1; i <= olds; i++) if (old[i] == block[1]) put_back(i)
  } else if (op == "unset") {
    if (find(line, n) || ini && !has_section(line, n)) exit 3
    count = find(old, olds)
    for (i = 1; i <= count; i++) put_back(found[i])
  } else if (op == "path") take_folder()
  else {
    count = find(old, olds); was = count ? old[found[count]] : ""
    at = find(line, n)
    if (!at) exit 3
    at = found[at]; pair(line[at])
    if (pv != value) exit 3
    if (count) { line[at] = was; return }
    drop(at)
    if (!ini || has_section(old, olds)) return
    for (start = 1; start <= n && head(line[start]) != section; start++);
    for (stop = start + 1; stop <= n && head(line[stop]) == "\n"; stop++) if (!blank(line[stop])) return
    drop(start)
    if (olds && !blank(old[olds]) && start > 1 && blank(line[start - 1])) drop(start - 1)
  }
}
# Whether the older text was as the edit makes it: then nothing of it is ours.
function was_so(    i, now, count, same) {
  count = n
  for (i = 1; i <= n; i++) now[i] = line[i]
  for (i = 1; i <= olds; i++) line[i] = old[i]
  n = olds
  apply()
  same = n == olds
  for (i = 1; i <= n && same; i++) same = line[i] == old[i]
  n = count
  for (i = 1; i <= n; i++) line[i] = now[i]
  return same
}
BEGIN {
  op = ENVIRON["OP"]; ini = ENVIRON["INI"]; section = ENVIRON["SECTION"]; key = ENVIRON["KEY"]
  value = ENVIRON["VALUE"]; folder = ENVIRON["FOLDER"]; first = ENVIRON["FIRST"]; after = ENVIRON["AFTER"]
  blocks = split(ENVIRON["LINE"], block, "\n")
  if (!blocks) { blocks = 1; block[1] = "" }
  n = olds = 0
}
{ if (NR == 1 && /\r$/) cr = "\r"; sub(/\r$/, ""); line[++n] = $0 }
END {
  if (ENVIRON["UNDO"]) {
    while ((getline text < ENVIRON["BEFORE"]) > 0) {
      # Of an empty text nobody knows how its lines end but the older one.
      if (!n && text ~ /\r$/) cr = "\r"
      sub(/\r$/, "", text); old[++olds] = text
    }
    if (!was_so()) take_back()
  } else apply()
  for (i = 1; i <= n; i++) printf "%s%s\n", line[i], cr
}
