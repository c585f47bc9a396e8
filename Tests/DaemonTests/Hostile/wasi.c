// A program of WebAssembly that opens what its host tells it to, by WASI.
__attribute__((import_module("wasi_snapshot_preview1"), import_name("path_open"))) int path_open(
    int folder, int follow, int path, int length, int flags, long long rights, long long inherited, int more, int opened);

__attribute__((export_name("open"))) int attempt(int length) { return path_open(3, 1, 64, length, 0, 2, 0, 0, 32); }
