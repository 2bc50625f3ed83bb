/* A version of the agent that passes its own test, and does not live. */
#include <string.h>

int main(int count, char **words)
{
    return count > 1 && strcmp(words[1], "__self-test") == 0 ? 0 : 1;
}
