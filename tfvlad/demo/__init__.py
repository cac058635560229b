"""The demo's images, drawn by the program itself: covers, and photographs of them."""
