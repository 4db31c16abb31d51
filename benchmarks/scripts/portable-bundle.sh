#!/usr/bin/env bash
# Makes benchmarks/target/llara-portable.tar.xz, at most 48 MiB: a Java run-time, this library and the bridge from Java to
# libtorch, without libtorch. Unpacked on x86-64 Linux beside a PyTorch that fits (docs/gpu.md), it runs there with
# nothing installed: llara (the commands), gpu-check (what gpu-check.sh says).
#
#     portable-bundle.sh [--built]
#
# --built takes the modules as they have been built. Needs a JDK with jlink, Maven, python3 and xz.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

limit=$((48 * 1024 * 1024))
out=benchmarks/target/llara-portable.tar.xz
bin=${JAVA_HOME:+$JAVA_HOME/bin/}
if [[ ${1:-} != --built ]]; then
  mvn -B -ntp -q -DskipTests -pl llara-examples,benchmarks -am package
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bundle=$work/llara-portable
mkdir -p "$bundle/lib" "$bundle/bin"
"${bin}jlink" --add-modules java.base,java.logging,java.net.http,jdk.crypto.ec,jdk.management,jdk.unsupported \
  --strip-debug --no-header-files --no-man-pages --output "$bundle/runtime"

# The default encoder and the charts are large; the natives are those of the bridge and of one platform.
python3 - "$bundle/lib" llara-examples/target/llara/lib benchmarks/target <<'PYTHON'
import pathlib, re, sys, zipfile

out, launcher, benchmarks = map(pathlib.Path, sys.argv[1:])
left_out = re.compile(r"llara-mini|-tests\.jar|-sources\.jar|-javadoc\.jar|xchart|animated-gif|pdfbox|fontbox|graphics2d|VectorGraphics|jmh|commons-math3|jopt-simple")
other_platform = re.compile(r"native/lib/(?!linux-x86_64|[^/]*$)|META-INF/native-image/|META-INF/maven/.*/pom.xml$|\.(h|cpp|cmake|pc|html)$")
libraries_of_torch = re.compile(r"/lib(torch|torch_cpu|c10|gomp|jnitorch_gloo|jnitorch_nccl|jnitorch_cuda|jniopenblas_full)\.so")
jars = {jar.name: jar for folder in (benchmarks / "lib", benchmarks, launcher) for jar in sorted(folder.glob("*.jar"))}
for name, jar in jars.items():
    if left_out.search(name):
        continue
    native = name.endswith("linux-x86_64.jar") or name.startswith("tokenizers")
    with zipfile.ZipFile(jar) as old, zipfile.ZipFile(out / name, "w", zipfile.ZIP_STORED) as new:
        for entry in old.infolist():
            if entry.is_dir() or other_platform.search(entry.filename):
                continue
            if native and libraries_of_torch.search("/" + entry.filename):
                continue
            kept = zipfile.ZipInfo(entry.filename, entry.date_time)
            new.writestr(kept, old.read(entry))
PYTHON
cp benchmarks/scripts/{gpu-check.sh,transformers-gpu-peer.py} "$bundle/bin/"
cp -R llara-core/src/test/resources/stories260k "$bundle/"
cp docs/gpu.md LICENSE NOTICE "$bundle/"
cat > "$bundle/llara" <<'SH'
#!/bin/sh
# llara with the PyTorch that LLARA_LIBTORCH names (the folder torch of a Python package, or an unpacked libtorch); else with
# that of python3. LLARA_MAIN names another main class, LLARA_JVM_OPTS adds options of the JVM.
set -eu
home=$(CDPATH='' cd -P "${0%/*}" && pwd)
torch=${LLARA_LIBTORCH:-$(python3 -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])')}
# shellcheck disable=SC2086
exec "$home/runtime/bin/java" -XX:+DisplayVMOutputToStderr -Dfile.encoding=UTF-8 "-Dllara.libtorch.home=$torch" \
  ${LLARA_JVM_OPTS:-} -cp "$home/lib/*" "${LLARA_MAIN:-io.llara.examples.Llara}" "$@"
SH
printf '#!/bin/sh\nexec "${0%%/*}/bin/gpu-check.sh" "$@"\n' > "$bundle/gpu-check"
chmod +x "$bundle"/{llara,gpu-check}

mkdir -p "${out%/*}"
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner -cf - llara-portable | xz -6 -T2 > "$out"
size=$(stat -c %s "$out")
echo "$out: $(awk "BEGIN { printf \"%.1f\", $size / 1048576 }") MiB"
[[ $size -le $limit ]] || { echo "more than 48 MiB" >&2; exit 1; }
