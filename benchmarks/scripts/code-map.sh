#!/usr/bin/env bash
# Prints a map of the main code: files, lines and public types of every package, and totals of every module.
#
#   code-map.sh [REV]     REV is any commit; HEAD by default
#
# A type counts as public if it is declared so at the top level of its file; "internal" are those of them that are
# marked @Internal, or whose package is. Needs git, grep and awk.
set -euo pipefail

cd "$(git -C "$(dirname "${BASH_SOURCE[0]}")" rev-parse --show-toplevel)"
revision=$(git rev-parse --verify --quiet --short "${1:-HEAD}^{commit}") \
  || { echo "code-map.sh: there is no commit $1" >&2; exit 2; }

# Every line is REV:PATH or REV:PATH:COUNT.
in_main() {
  git grep "$@" "$revision" -- '*.java' | grep '/src/main/java/' || true
}

{
  in_main -c '' | awk '{ print "lines:" $0 }'
  in_main -cE '^public ([a-z-]+ )*(class|interface|enum|record|@interface) ' | awk '{ print "public:" $0 }'
  in_main -lE '^@Internal( |$)' | awk '{ print "internal:" $0 }'
} | awk -F: -v revision="$revision" '
  {
    path = $3
    split(path, parts, "/src/main/java/")
    module = parts[1]
    package = parts[2]
    if (!sub("/[^/]*$", "", package)) package = "(default)"
    gsub("/", ".", package)
    key = module SUBSEP package
  }
  $1 == "lines" { files[key]++; lines[key] += $4 }
  $1 == "public" { types[path] = key }
  $1 == "internal" {
    if (path ~ /package-info\.java$/) internal_package[key] = 1
    else internal[path] = 1
  }
  function row(module, package, files, lines, types, internal) {
    printf "%-16s %-36s %6d %7d %7d %9d\n", module, package, files, lines, types, internal
  }
  END {
    for (path in types) {
      key = types[path]
      public[key]++
      if (path in internal || key in internal_package) hidden[key]++
    }
    print "main code at " revision
    printf "%-16s %-36s %6s %7s %7s %9s\n", "module", "package", "files", "lines", "public", "internal"
    # awk has no sort that every system knows.
    for (key in files) keys[++count] = key
    for (i = 2; i <= count; i++) {
      key = keys[i]
      for (j = i - 1; j > 0 && keys[j] > key; j--) keys[j + 1] = keys[j]
      keys[j + 1] = key
    }
    for (i = 1; i <= count; i++) {
      key = keys[i]
      split(key, names, SUBSEP)
      module = names[1]
      row(module, names[2], files[key], lines[key], public[key], hidden[key])
      module_files[module] += files[key]
      module_lines[module] += lines[key]
      module_types[module] += public[key]
      module_hidden[module] += hidden[key]
      split(keys[i + 1], next_names, SUBSEP)
      if (next_names[1] != module) {
        row(module, "total", module_files[module], module_lines[module], module_types[module], module_hidden[module])
        print ""
        if (module ~ /^llara-/) {
          all_files += module_files[module]
          all_lines += module_lines[module]
          all_types += module_types[module]
          all_hidden += module_hidden[module]
        }
      }
    }
    row("llara-*", "total", all_files, all_lines, all_types, all_hidden)
  }
'
