/* The service of the installer `everything`: it runs until it is told to stop. */
#include <windows.h>

static SERVICE_STATUS_HANDLE handle;
static HANDLE stopped;

static void tell(DWORD state) {
    SERVICE_STATUS status = {SERVICE_WIN32_OWN_PROCESS, state, 0, 0, 0, 0, 0};
    status.dwControlsAccepted = state == SERVICE_RUNNING ? SERVICE_ACCEPT_STOP : 0;
    SetServiceStatus(handle, &status);
}

static void WINAPI control(DWORD what) {
    if (what == SERVICE_CONTROL_STOP) SetEvent(stopped);
}

static void WINAPI service(DWORD count, LPWSTR *words) {
    handle = RegisterServiceCtrlHandlerW(L"Everything", control);
    stopped = CreateEventW(NULL, TRUE, FALSE, NULL);
    tell(SERVICE_RUNNING);
    WaitForSingleObject(stopped, INFINITE);
    tell(SERVICE_STOPPED);
}

int main(void) {
    SERVICE_TABLE_ENTRYW table[] = {{L"Everything", service}, {NULL, NULL}};
    return !StartServiceCtrlDispatcherW(table);
}
