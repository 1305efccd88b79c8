// A program that does nothing: linked with a whole layer it shows that the layer needs none above.
int main() { return 0; }
