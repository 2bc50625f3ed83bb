/* The driver of the installer `everything`: it is loaded, and that is all. */
#include <ddk/wdm.h>

static VOID NTAPI unload(PDRIVER_OBJECT driver) { (void)driver; }

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path) {
    (void)path;
    driver->DriverUnload = unload;
    return STATUS_SUCCESS;
}
