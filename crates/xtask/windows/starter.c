/* A program that starts another, and waits for it: what the shell is to Active Setup. */
#include <process.h>

int main(int count, char **words)
{
    return count < 2 ? 2 : (int)_spawnv(_P_WAIT, words[1], (const char *const *)words + 1);
}
