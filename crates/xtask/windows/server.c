/* A library that registers itself under one name, for `cargo xtask prove windows`. */
#include <windows.h>

static const wchar_t KEY[] = L"SOFTWARE\\Classes\\Packhorse.Proof";

__declspec(dllexport) HRESULT WINAPI DllRegisterServer(void) {
    HKEY key;
    LONG answer = RegCreateKeyExW(HKEY_LOCAL_MACHINE, KEY, 0, NULL, 0, KEY_WRITE, NULL, &key, NULL);
    if (answer == ERROR_SUCCESS) RegCloseKey(key);
    return HRESULT_FROM_WIN32(answer);
}

__declspec(dllexport) HRESULT WINAPI DllUnregisterServer(void) {
    return HRESULT_FROM_WIN32(RegDeleteKeyW(HKEY_LOCAL_MACHINE, KEY));
}
