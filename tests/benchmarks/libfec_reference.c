/* Correct the code blocks of a file with decode_rs_ccsds of libfec and say what it took.
 *
 * Arguments: input, output, octets of a code block, interleave. Both files are blocks back to back; the input is
 * derandomized, the output holds the corrected blocks. Prints the CPU time of one pass in seconds (the best of five),
 * the corrected symbols and the codewords beyond correction. Taking the codewords apart is part of the pass, copying
 * the file is not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <fec.h>

enum { REPEATS = 5, LONGEST = 255 };

static unsigned char *contents(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        return NULL;
    *size = (size_t)ftell(file);
    rewind(file);
    unsigned char *octets = malloc(*size);
    if (octets != NULL && fread(octets, 1, *size, file) != *size)
        octets = NULL;
    fclose(file);
    return octets;
}

static int decode_block(unsigned char *block, int symbols, int interleave, long *lost)
{
    unsigned char word[LONGEST];
    int corrected = 0;
    for (int c = 0; c < interleave; c++) {
        for (int i = 0; i < symbols; i++)
            word[i] = block[i * interleave + c];
        int errors = decode_rs_ccsds(word, NULL, 0, LONGEST - symbols);
        if (errors < 0)
            ++*lost;
        if (errors <= 0)
            continue;
        corrected += errors;
        for (int i = 0; i < symbols; i++)
            block[i * interleave + c] = word[i];
    }
    return corrected;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    size_t size = 0;
    unsigned char *received = contents(argv[1], &size);
    int length = atoi(argv[3]);
    int interleave = atoi(argv[4]);
    if (received == NULL || length <= 0 || interleave <= 0 || length / interleave > LONGEST)
        return 2;
    unsigned char *blocks = malloc(size);
    if (blocks == NULL)
        return 2;
    double best = 1e9;
    long corrected = 0;
    long lost = 0;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        memcpy(blocks, received, size);
        corrected = 0;
        lost = 0;
        clock_t begin = clock();
        for (size_t at = 0; at + (size_t)length <= size; at += (size_t)length)
            corrected += decode_block(blocks + at, length / interleave, interleave, &lost);
        double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
        if (seconds < best)
            best = seconds;
    }
    FILE *file = fopen(argv[2], "wb");
    if (file == NULL || fwrite(blocks, 1, size, file) != size || fclose(file) != 0)
        return 2;
    printf("%.6f %ld %ld\n", best, corrected, lost);
    return 0;
}
