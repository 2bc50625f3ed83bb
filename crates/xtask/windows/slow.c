/* A program that takes its time, and writes down when it begins and when it ends. */
#include <windows.h>

static void line(const char *text)
{
    DWORD count;
    HANDLE file = CreateFileA("C:\\ran.txt", FILE_APPEND_DATA, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
                              OPEN_ALWAYS, 0, NULL);
    WriteFile(file, text, lstrlenA(text), &count, NULL);
    CloseHandle(file);
}

int main(void)
{
    line("began\r\n");
    Sleep(12000);
    line("ended\r\n");
    return 0;
}
